-- Prompts of every carrier: in patient space, as regions of their annotation, on every series of a frame of reference.
-- A prompt that lies on several series has a row for each, of one source or group and one ordinal.
ALTER TABLE prompt ADD COLUMN space INTEGER NOT NULL DEFAULT 0;
ALTER TABLE prompt ADD COLUMN region INTEGER NOT NULL DEFAULT 0;
ALTER TABLE prompt ADD COLUMN z0 REAL NOT NULL DEFAULT 0;
ALTER TABLE prompt ADD COLUMN z1 REAL NOT NULL DEFAULT 0;
ALTER TABLE prompt ADD COLUMN frame_of_reference_uid TEXT NOT NULL DEFAULT '';
-- study_uid: of the annotation; '' for REST. authored_ms: when the annotation says that it was made, else when it came.
-- request_sha256: of the body of a POST.
ALTER TABLE prompt ADD COLUMN study_uid TEXT NOT NULL DEFAULT '';
ALTER TABLE prompt ADD COLUMN authored_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE prompt ADD COLUMN request_sha256 TEXT NOT NULL DEFAULT '';
UPDATE prompt SET authored_ms = created_ms;
DROP INDEX prompt_source;
DROP INDEX prompt_group;
CREATE UNIQUE INDEX prompt_source ON prompt(source_id, ordinal, series_id) WHERE source_id IS NOT NULL;
CREATE UNIQUE INDEX prompt_group ON prompt(group_id, ordinal, series_id) WHERE group_id <> '';
CREATE INDEX prompt_frame ON prompt(frame_of_reference_uid) WHERE frame_of_reference_uid <> '';
CREATE INDEX prompt_tracking ON prompt(series_id, tracking_uid) WHERE tracking_uid <> '' AND current = 1;

-- Of the first image that has one; '' for series from before this step.
ALTER TABLE series ADD COLUMN frame_of_reference_uid TEXT NOT NULL DEFAULT '';
CREATE INDEX series_frame ON series(frame_of_reference_uid) WHERE frame_of_reference_uid <> '';

-- note: why an annotation prompts nothing, or what was passed over in it. normal: the direction of the slice, two
-- decimals each; '' where the image has no plane, and for images from before this step.
ALTER TABLE instance ADD COLUMN note TEXT NOT NULL DEFAULT '';
ALTER TABLE instance ADD COLUMN normal TEXT NOT NULL DEFAULT '';
CREATE INDEX instance_noted ON instance(id) WHERE note <> '';
CREATE INDEX instance_sha256 ON instance(sha256);

-- content_key: of the inputs alone. input_key, which UIDs derive from, differs from it where the same inputs come back
-- after others: what is sent then is a new object.
ALTER TABLE job ADD COLUMN content_key TEXT NOT NULL DEFAULT '';
UPDATE job SET content_key = input_key;
