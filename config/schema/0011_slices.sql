-- The picture of key slices, each without and with its masks, that the dashboard shows one at a time.
ALTER TABLE job ADD COLUMN slices_sha256 TEXT NOT NULL DEFAULT '';
CREATE INDEX job_slices ON job(slices_sha256) WHERE slices_sha256 <> '';
