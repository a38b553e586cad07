-- Who was let in: the entry under senders ('': there are none), and how ('TLSv1.3'; '': without TLS).
ALTER TABLE association ADD COLUMN sender TEXT NOT NULL DEFAULT '';
ALTER TABLE association ADD COLUMN tls TEXT NOT NULL DEFAULT '';

-- Storage commitment that we ask for: of a delivery that its destination has taken (stored_ms) and is to confirm under
-- this transaction UID. It stays 'pending' meanwhile; when run_at_ms comes first, it is asked again.
ALTER TABLE delivery ADD COLUMN stored_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE delivery ADD COLUMN transaction_uid TEXT NOT NULL DEFAULT '';
CREATE INDEX delivery_transaction ON delivery(transaction_uid) WHERE transaction_uid <> '';

-- Storage commitment that senders ask of us: recorded before the request is answered, gone when the report is.
CREATE TABLE commitment (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    transaction_uid TEXT NOT NULL,
    sender          TEXT NOT NULL, -- name of its entry: where the report goes
    calling_ae      TEXT NOT NULL,
    created_ms      INTEGER NOT NULL,
    run_at_ms       INTEGER NOT NULL,
    attempt         INTEGER NOT NULL DEFAULT 0,
    UNIQUE (sender, transaction_uid)
) STRICT;
CREATE INDEX commitment_due ON commitment(run_at_ms, id);

CREATE TABLE commitment_item (
    commitment_id    INTEGER NOT NULL REFERENCES commitment(id) ON DELETE CASCADE,
    ordinal          INTEGER NOT NULL,
    sop_class_uid    TEXT NOT NULL,
    sop_instance_uid TEXT NOT NULL,
    PRIMARY KEY (commitment_id, ordinal)
) STRICT, WITHOUT ROWID;
