-- An image that is forgotten is looked for among the inputs of jobs, which would else be read whole for each.
CREATE INDEX job_instance_instance ON job_instance(instance_id);
