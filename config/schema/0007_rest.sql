-- What the REST interface adds.
-- priority: 0 background, 1 normal, 2 urgent; the order in which queued jobs are claimed.
ALTER TABLE job ADD COLUMN priority INTEGER NOT NULL DEFAULT 1;
DROP INDEX job_queued;
CREATE INDEX job_queued ON job(priority DESC, queued_ms, id, run_at_ms, attempt, max_attempts) WHERE state = 2;
CREATE INDEX job_queued_since ON job(queued_ms) WHERE state = 2;

-- The log of what happened, in the order of commits: readers go on where they were, also after a restart. Written by
-- the triggers below, so that no path through the code can change a state without it. state: a word; of a job the
-- number of its state. detail: of a job and a series its series UID, of a delivery the destination, of a refusal the
-- reason. The time is the clock's.
CREATE TABLE event (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms   INTEGER NOT NULL DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)),
    kind    TEXT NOT NULL,
    subject TEXT NOT NULL,
    state   TEXT NOT NULL,
    detail  TEXT NOT NULL
) STRICT;

CREATE TRIGGER event_bounded AFTER INSERT ON event BEGIN
    DELETE FROM event WHERE id <= new.id - 10000;
END;

CREATE TRIGGER event_job_new AFTER INSERT ON job BEGIN
    INSERT INTO event(kind, subject, state, detail)
        VALUES ('job', new.public_id, new.state, (SELECT series_uid FROM series WHERE id = new.series_id));
END;
CREATE TRIGGER event_job AFTER UPDATE OF state, priority ON job
    WHEN new.state <> old.state OR new.priority <> old.priority BEGIN
    INSERT INTO event(kind, subject, state, detail)
        VALUES ('job', new.public_id, new.state, (SELECT series_uid FROM series WHERE id = new.series_id));
END;
-- A job whose inputs turned out to be those of the one before it is dropped while it is open.
CREATE TRIGGER event_job_dropped AFTER DELETE ON job BEGIN
    INSERT INTO event(kind, subject, state, detail)
        VALUES ('job', old.public_id, 'dropped', coalesce((SELECT series_uid FROM series WHERE id = old.series_id), ''));
END;
CREATE TRIGGER event_series_new AFTER INSERT ON series BEGIN
    INSERT INTO event(kind, subject, state, detail) VALUES ('series', new.series_uid, 'open', '');
END;
CREATE TRIGGER event_series AFTER UPDATE OF open, held ON series
    WHEN new.open <> old.open OR new.held <> old.held BEGIN
    INSERT INTO event(kind, subject, state, detail) VALUES ('series', new.series_uid,
        CASE WHEN new.held THEN 'held' WHEN new.open THEN 'open' ELSE 'closed' END, '');
END;
CREATE TRIGGER event_delivery AFTER UPDATE OF state ON delivery WHEN new.state <> old.state BEGIN
    INSERT INTO event(kind, subject, state, detail)
        VALUES ('delivery', (SELECT public_id FROM job WHERE id = new.job_id), new.state, new.destination);
END;
CREATE TRIGGER event_refusal_new AFTER INSERT ON refusal BEGIN
    INSERT INTO event(kind, subject, state, detail) VALUES ('refusal', new.calling_ae, 'refused', new.reason);
END;
CREATE TRIGGER event_refusal AFTER UPDATE OF count ON refusal BEGIN
    INSERT INTO event(kind, subject, state, detail) VALUES ('refusal', new.calling_ae, 'refused', new.reason);
END;
CREATE TRIGGER event_instance AFTER UPDATE OF state ON instance WHEN new.state = 2 AND old.state <> 2 BEGIN
    INSERT INTO event(kind, subject, state, detail)
        VALUES ('instance', CASE new.sop_instance_uid WHEN '' THEN new.sha256 ELSE new.sop_instance_uid END,
            'rejected', new.reason);
END;

-- Answers to requests with an Idempotency-Key: the same key again gets the same answer, until expires_ms.
CREATE TABLE idempotency (
    key_sha256     TEXT PRIMARY KEY,
    request_sha256 TEXT NOT NULL,
    status         INTEGER NOT NULL,
    location       TEXT NOT NULL,
    body           TEXT NOT NULL,
    expires_ms     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_expires ON idempotency(expires_ms);
