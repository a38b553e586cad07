-- Whether a blob is still named by anything: asked before it is deleted.
CREATE INDEX result_sha256 ON result(sha256);
CREATE INDEX job_preview ON job(preview_sha256) WHERE preview_sha256 <> '';
