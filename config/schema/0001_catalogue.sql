-- The catalogue: what came, what it belongs to, what is to be done with it, and where the results go.
-- One step is one transaction; a step that has shipped is never edited, the next one changes it.
-- Times are milliseconds since 1970 UTC, 0 where a thing has not happened. No patient attribute is kept here.
PRAGMA application_id = 1297301828; -- 'MSAD'

CREATE TABLE association (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    calling_ae TEXT NOT NULL,
    called_ae  TEXT NOT NULL,
    peer       TEXT NOT NULL,
    opened_ms  INTEGER NOT NULL,
    closed_ms  INTEGER NOT NULL DEFAULT 0,
    instances  INTEGER NOT NULL DEFAULT 0,
    ended      TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX association_open ON association(id) WHERE closed_ms = 0;

CREATE TABLE refusal (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms      INTEGER NOT NULL,
    count      INTEGER NOT NULL,
    calling_ae TEXT NOT NULL,
    peer       TEXT NOT NULL,
    what       TEXT NOT NULL,
    reason     TEXT NOT NULL,
    UNIQUE (calling_ae, peer, what, reason)
) STRICT;
CREATE INDEX refusal_at ON refusal(at_ms, id);

-- Series of images. `attention`: something has come since the last decision, so completeness looks at it; without
-- the mark every tick would walk all the series that wait for an annotation, which are most of them.
CREATE TABLE series (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    series_uid TEXT NOT NULL UNIQUE,
    study_uid  TEXT NOT NULL,
    modality   TEXT NOT NULL,
    body_part  TEXT NOT NULL,
    expected   INTEGER NOT NULL DEFAULT 0,
    open       INTEGER NOT NULL DEFAULT 1,
    attention  INTEGER NOT NULL DEFAULT 1,
    first_ms   INTEGER NOT NULL,
    last_ms    INTEGER NOT NULL,
    closed_ms  INTEGER NOT NULL DEFAULT 0,
    closed_by  TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX series_attention ON series(id) WHERE attention = 1;

-- One row per (UID, bytes). state: 0 received, 1 indexed, 2 rejected. kind: 0 not known yet, 1 image, 2 annotation.
-- position_mm is NULL where the image has no plane.
CREATE TABLE instance (
    id                  INTEGER PRIMARY KEY AUTOINCREMENT,
    sop_instance_uid    TEXT NOT NULL,
    sha256              TEXT NOT NULL,
    series_id           INTEGER REFERENCES series(id),
    association_id      INTEGER NOT NULL DEFAULT 0,
    received_ms         INTEGER NOT NULL,
    size_bytes          INTEGER NOT NULL,
    sop_class_uid       TEXT NOT NULL,
    transfer_syntax_uid TEXT NOT NULL,
    kind                INTEGER NOT NULL DEFAULT 0,
    state               INTEGER NOT NULL DEFAULT 0,
    superseded          INTEGER NOT NULL DEFAULT 0,
    index_attempts      INTEGER NOT NULL DEFAULT 0,
    position_mm         REAL,
    reason              TEXT NOT NULL DEFAULT '',
    UNIQUE (sop_instance_uid, sha256)
) STRICT;
CREATE INDEX instance_series ON instance(series_id, superseded, position_mm) WHERE series_id IS NOT NULL;
CREATE INDEX instance_association ON instance(association_id, series_id);
CREATE INDEX instance_received ON instance(id) WHERE state = 0;
CREATE INDEX instance_unindexed ON instance(association_id) WHERE state = 0;
CREATE INDEX instance_rejected ON instance(id) WHERE state = 2;

-- source_id: the annotation instance, or NULL for REST, where group_id is the POST. `current` is 0 once a newer
-- version of the annotation object has replaced this one. series_id is NULL while the images have not come.
CREATE TABLE prompt (
    id                  INTEGER PRIMARY KEY AUTOINCREMENT,
    series_id           INTEGER REFERENCES series(id),
    source_id           INTEGER REFERENCES instance(id),
    group_id            TEXT NOT NULL DEFAULT '',
    ordinal             INTEGER NOT NULL,
    current             INTEGER NOT NULL DEFAULT 1,
    created_ms          INTEGER NOT NULL,
    series_uid          TEXT NOT NULL DEFAULT '',
    sop_instance_uid    TEXT NOT NULL,
    kind                INTEGER NOT NULL,
    frame               INTEGER NOT NULL,
    positive            INTEGER NOT NULL,
    slice               INTEGER NOT NULL,
    x0                  REAL NOT NULL,
    y0                  REAL NOT NULL,
    x1                  REAL NOT NULL,
    y1                  REAL NOT NULL,
    label               TEXT NOT NULL,
    tracking_id         TEXT NOT NULL,
    tracking_uid        TEXT NOT NULL,
    category_value      TEXT NOT NULL,
    category_scheme     TEXT NOT NULL,
    category_meaning    TEXT NOT NULL,
    type_value          TEXT NOT NULL,
    type_scheme         TEXT NOT NULL,
    type_meaning        TEXT NOT NULL,
    site_value          TEXT NOT NULL,
    site_scheme         TEXT NOT NULL,
    site_meaning        TEXT NOT NULL,
    source_class_uid    TEXT NOT NULL,
    source_instance_uid TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX prompt_source ON prompt(source_id, ordinal) WHERE source_id IS NOT NULL;
CREATE UNIQUE INDEX prompt_group ON prompt(group_id, ordinal) WHERE group_id <> '';
CREATE INDEX prompt_series ON prompt(series_id, current) WHERE series_id IS NOT NULL;
CREATE INDEX prompt_waiting ON prompt(id) WHERE series_id IS NULL AND current = 1;
CREATE INDEX prompt_image ON prompt(sop_instance_uid) WHERE sop_instance_uid <> '';
CREATE INDEX prompt_series_uid ON prompt(series_uid) WHERE series_uid <> '';

-- state: 0 receiving, 1 waiting_prompt, 2 queued, 3 running, 4 delivering, 5 succeeded, 6 succeeded_empty, 7 failed,
-- 8 cancelled. token: raised by every claim; whoever writes with an older one has lost the job.
CREATE TABLE job (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    public_id      TEXT NOT NULL UNIQUE,
    series_id      INTEGER NOT NULL REFERENCES series(id),
    supersedes     INTEGER NOT NULL DEFAULT 0,
    state          INTEGER NOT NULL DEFAULT 0,
    attempt        INTEGER NOT NULL DEFAULT 0,
    max_attempts   INTEGER NOT NULL DEFAULT 3,
    token          INTEGER NOT NULL DEFAULT 0,
    lease_until_ms INTEGER NOT NULL DEFAULT 0,
    created_ms     INTEGER NOT NULL,
    queued_ms      INTEGER NOT NULL DEFAULT 0,
    started_ms     INTEGER NOT NULL DEFAULT 0,
    finished_ms    INTEGER NOT NULL DEFAULT 0,
    run_at_ms      INTEGER NOT NULL DEFAULT 0,
    progress_done  INTEGER NOT NULL DEFAULT 0,
    progress_total INTEGER NOT NULL DEFAULT 0,
    untrained      INTEGER NOT NULL DEFAULT 0,
    reason         TEXT NOT NULL DEFAULT '',
    warnings       TEXT NOT NULL DEFAULT '',
    input_key      TEXT NOT NULL DEFAULT '',
    model_name     TEXT NOT NULL DEFAULT '',
    model_version  TEXT NOT NULL DEFAULT '',
    model_hash     TEXT NOT NULL DEFAULT '',
    preview_sha256 TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE UNIQUE INDEX job_open ON job(series_id) WHERE state IN (0, 1); -- one at a time gathers inputs
CREATE INDEX job_series ON job(series_id, id);
CREATE INDEX job_queued ON job(queued_ms, id, run_at_ms, attempt, max_attempts) WHERE state = 2;
CREATE INDEX job_due ON job(run_at_ms) WHERE state = 2;
CREATE INDEX job_exhausted ON job(id) WHERE state = 2 AND attempt >= max_attempts;
CREATE INDEX job_running ON job(lease_until_ms) WHERE state = 3;
CREATE INDEX job_state ON job(state, id);

-- What a job was bound to when it was queued; `ordinal` is the order the worker sees.
CREATE TABLE job_instance (
    job_id      INTEGER NOT NULL REFERENCES job(id) ON DELETE CASCADE,
    ordinal     INTEGER NOT NULL,
    instance_id INTEGER NOT NULL REFERENCES instance(id),
    PRIMARY KEY (job_id, ordinal)
) STRICT, WITHOUT ROWID;

CREATE TABLE job_prompt (
    job_id    INTEGER NOT NULL REFERENCES job(id) ON DELETE CASCADE,
    ordinal   INTEGER NOT NULL,
    prompt_id INTEGER NOT NULL REFERENCES prompt(id),
    PRIMARY KEY (job_id, ordinal)
) STRICT, WITHOUT ROWID;
CREATE INDEX job_prompt_prompt ON job_prompt(prompt_id);

CREATE TABLE result (
    job_id           INTEGER NOT NULL REFERENCES job(id) ON DELETE CASCADE,
    number           INTEGER NOT NULL,
    size_bytes       INTEGER NOT NULL,
    sha256           TEXT NOT NULL,
    sop_class_uid    TEXT NOT NULL,
    sop_instance_uid TEXT NOT NULL,
    series_uid       TEXT NOT NULL,
    PRIMARY KEY (job_id, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE segment (
    job_id      INTEGER NOT NULL REFERENCES job(id) ON DELETE CASCADE,
    number      INTEGER NOT NULL,
    voxels      INTEGER NOT NULL,
    first_slice INTEGER NOT NULL,
    last_slice  INTEGER NOT NULL,
    volume_ml   REAL NOT NULL,
    mean_iou    REAL NOT NULL,
    label       TEXT NOT NULL,
    note        TEXT NOT NULL,
    PRIMARY KEY (job_id, number)
) STRICT, WITHOUT ROWID;

-- The outbox: one row per result object and destination.
CREATE TABLE delivery (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id        INTEGER NOT NULL,
    number        INTEGER NOT NULL,
    destination   TEXT NOT NULL,
    state         TEXT NOT NULL DEFAULT 'pending'
                  CHECK (state IN ('pending', 'sending', 'delivered', 'dead', 'cancelled')),
    attempt       INTEGER NOT NULL DEFAULT 0,
    refusals      INTEGER NOT NULL DEFAULT 0,
    token         INTEGER NOT NULL DEFAULT 0,
    created_ms    INTEGER NOT NULL,
    run_at_ms     INTEGER NOT NULL,
    delivered_ms  INTEGER NOT NULL DEFAULT 0,
    dimse_status  INTEGER NOT NULL DEFAULT -1,
    comment       TEXT NOT NULL DEFAULT '',
    UNIQUE (job_id, number, destination),
    FOREIGN KEY (job_id, number) REFERENCES result(job_id, number) ON DELETE CASCADE
) STRICT;
CREATE INDEX delivery_pending ON delivery(destination, id, run_at_ms) WHERE state = 'pending';
CREATE INDEX delivery_due ON delivery(run_at_ms) WHERE state = 'pending';
CREATE INDEX delivery_sending ON delivery(id) WHERE state = 'sending';
CREATE INDEX delivery_dead ON delivery(id) WHERE state = 'dead';
