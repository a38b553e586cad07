-- What rules look at. Descriptions are free text, in which people write names: they are compared with rules and shown
-- nowhere. sender: the calling AE title of the association that brought the first image. orientation: of its images,
-- 'mixed' where they differ. slice_mm: Spacing Between Slices, else Slice Thickness, of the first image that has one.
ALTER TABLE series ADD COLUMN study_description TEXT NOT NULL DEFAULT '';
ALTER TABLE series ADD COLUMN series_description TEXT NOT NULL DEFAULT '';
ALTER TABLE series ADD COLUMN protocol TEXT NOT NULL DEFAULT '';
ALTER TABLE series ADD COLUMN sender TEXT NOT NULL DEFAULT '';
ALTER TABLE series ADD COLUMN orientation TEXT NOT NULL DEFAULT '';
ALTER TABLE series ADD COLUMN slice_mm REAL NOT NULL DEFAULT 0;
ALTER TABLE instance ADD COLUMN frames INTEGER NOT NULL DEFAULT 1;
DROP INDEX instance_series; -- again, with the frames in it: they are summed up with every look at a series
CREATE INDEX instance_series ON instance(series_id, superseded, position_mm, frames) WHERE series_id IS NOT NULL;

-- Further evidence of completeness. held: not closed until it is released. told: how many images somebody says over
-- REST that there are; found: how many the source has, when it was asked last (asked_ms). study_expected: Number of
-- Study Related Instances; acquisition_expected: Images in Acquisition. force: close it at the next look.
ALTER TABLE series ADD COLUMN held INTEGER NOT NULL DEFAULT 0;
ALTER TABLE series ADD COLUMN force INTEGER NOT NULL DEFAULT 0;
ALTER TABLE series ADD COLUMN told INTEGER NOT NULL DEFAULT 0;
ALTER TABLE series ADD COLUMN found INTEGER NOT NULL DEFAULT 0;
ALTER TABLE series ADD COLUMN asked_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE series ADD COLUMN study_expected INTEGER NOT NULL DEFAULT 0;
ALTER TABLE series ADD COLUMN acquisition_expected INTEGER NOT NULL DEFAULT 0;
CREATE INDEX series_study ON series(study_uid);
CREATE INDEX series_asking ON series(id) WHERE found < 0;

-- The rule that decided, by name or number; '' until one has.
ALTER TABLE job ADD COLUMN rule TEXT NOT NULL DEFAULT '';

-- Small facts about the catalogue itself. 'rules': those of the last start, as a hash; when they have changed, the series
-- that wait for prompts are looked at again.
CREATE TABLE fact (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
