-- Whether a blob is still named by anything: asked before it is deleted.
CREATE INDEX result_sha256 ON result(sha256);
CREATE INDEX job_preview ON job(preview_sha256) WHERE preview_sha256 <> '';

-- Fair share: of jobs of one priority the next is the oldest of the sender who was served the longest ago. turn: a count of
-- claims, that of its last one. A sender is an AE title; '' is REST.
CREATE TABLE sender (
    name TEXT PRIMARY KEY,
    turn INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX sender_turn ON sender(turn);
ALTER TABLE job ADD COLUMN sender TEXT NOT NULL DEFAULT '';
UPDATE job SET sender = (SELECT sender FROM series WHERE id = job.series_id);
INSERT INTO sender(name) SELECT DISTINCT sender FROM job;
DROP INDEX job_queued;
CREATE INDEX job_queued ON job(priority, sender, queued_ms, id, run_at_ms, attempt, max_attempts) WHERE state = 2;
