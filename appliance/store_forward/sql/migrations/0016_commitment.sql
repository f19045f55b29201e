-- Storage commitment (PS3.4 annex J): what modalities asked for, and what they were told.

-- receive. `next_at`: while decided_at is NULL, when to look for receipts again; then, when to tell (again).
CREATE TABLE commitment (
    id              INTEGER PRIMARY KEY,
    transaction_uid TEXT    NOT NULL,
    calling_ae      TEXT    NOT NULL,
    address         TEXT    NOT NULL,
    level           TEXT    NOT NULL CHECK (level IN ('box', 'hub')), -- as the setting was when it was asked
    items           INTEGER NOT NULL,
    asked_at        INTEGER NOT NULL,
    next_at         INTEGER NOT NULL,
    decided_at      INTEGER,
    tries           INTEGER NOT NULL DEFAULT 0, -- reports that failed
    told_at         INTEGER                     -- when the requester took the report
) STRICT;
CREATE INDEX commitment_by_transaction ON commitment (calling_ae, transaction_uid);
CREATE INDEX commitment_to_decide ON commitment (next_at) WHERE decided_at IS NULL;
CREATE INDEX commitment_to_tell ON commitment (next_at) WHERE decided_at IS NOT NULL AND told_at IS NULL;
CREATE INDEX commitment_open ON commitment (calling_ae, items) WHERE told_at IS NULL;
CREATE INDEX commitment_told ON commitment (told_at) WHERE told_at IS NOT NULL;

-- receive. `failure`: Failure Reason (0008,1197); 0: none, or not decided yet
CREATE TABLE commitment_item (
    commitment_id    INTEGER NOT NULL REFERENCES commitment (id) ON DELETE CASCADE,
    number           INTEGER NOT NULL,
    sop_class_uid    TEXT    NOT NULL,
    sop_instance_uid TEXT    NOT NULL,
    failure          INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (commitment_id, number)
) STRICT, WITHOUT ROWID;
