-- The unit's database. Rows say what happened and when (Unix milliseconds, UTC); what a person sees is derived from them.
-- Which process writes a table is said above it.

-- receive (insert, facts of arrival), web (priority, conflicts_checked); counters are kept by the triggers below
CREATE TABLE study (
    id                   INTEGER PRIMARY KEY,
    study_instance_uid   TEXT    NOT NULL UNIQUE,
    patient_name         TEXT    NOT NULL,
    patient_id           TEXT    NOT NULL,
    issuer_of_patient_id TEXT    NOT NULL,
    patient_birth_date   TEXT    NOT NULL,
    patient_sex          TEXT    NOT NULL,
    accession_number     TEXT    NOT NULL,
    study_description    TEXT    NOT NULL,
    study_date           TEXT    NOT NULL,
    study_time           TEXT    NOT NULL,
    referring_physician  TEXT    NOT NULL,
    priority             INTEGER NOT NULL CHECK (priority BETWEEN 0 AND 3),
    settle_ms            INTEGER NOT NULL CHECK (settle_ms > 0),
    calling_ae           TEXT    NOT NULL,
    first_received_at    INTEGER NOT NULL,
    last_received_at     INTEGER NOT NULL,
    identity_conflict    INTEGER NOT NULL DEFAULT 0, -- instances came under this UID for another patient
    instances            INTEGER NOT NULL DEFAULT 0,
    bytes                INTEGER NOT NULL DEFAULT 0, -- data set bytes, before packing
    received             INTEGER NOT NULL DEFAULT 0, -- instances in each state
    packed               INTEGER NOT NULL DEFAULT 0,
    delivered            INTEGER NOT NULL DEFAULT 0, -- delivered or removed
    quarantined          INTEGER NOT NULL DEFAULT 0,
    conflicts            INTEGER NOT NULL DEFAULT 0, -- instances that share a UID with other bytes
    conflicts_checked    INTEGER NOT NULL DEFAULT 0, -- of conflicts and identity_conflict, those that a person said were looked at
    received_bytes       INTEGER NOT NULL DEFAULT 0, -- data set bytes of instances that wait to be packed
    delivered_at         INTEGER,                    -- when the last instance got its receipt; NULL while any lacks one
    to_send              INTEGER NOT NULL DEFAULT 0, -- its parcels that are not wholly at the hub
    to_send_bytes        INTEGER NOT NULL DEFAULT 0, -- bytes of them that the hub has not acknowledged
    whole_at             INTEGER                     -- when forward found it delivered and quiet for its settle time
) STRICT;
CREATE INDEX study_by_arrival ON study (last_received_at DESC, id DESC);
CREATE INDEX study_to_pack ON study (priority, first_received_at) WHERE received > 0;
CREATE INDEX study_to_send ON study (priority, first_received_at, id) WHERE to_send > 0;
CREATE INDEX study_to_call_whole ON study (id) WHERE delivered_at IS NOT NULL AND whole_at IS NULL;
CREATE INDEX study_in_need ON study (last_received_at DESC, id DESC)
    WHERE quarantined > 0 OR conflicts + identity_conflict > conflicts_checked;
CREATE INDEX study_under_way ON study (last_received_at DESC, id DESC) WHERE delivered < instances;

-- kept by the triggers at the end: what the page's search box looks in, word by word, without case or accents
CREATE VIRTUAL TABLE study_text USING fts5 (
    patient_name, patient_id, accession_number,
    content = 'study', content_rowid = 'id', tokenize = 'unicode61 remove_diacritics 2', prefix = '2 3'
);

-- receive
CREATE TABLE series (
    id                  INTEGER PRIMARY KEY,
    study_id            INTEGER NOT NULL REFERENCES study (id),
    series_instance_uid TEXT    NOT NULL,
    modality            TEXT    NOT NULL,
    body_part           TEXT    NOT NULL,
    series_description  TEXT    NOT NULL,
    series_number       TEXT    NOT NULL,
    instances           INTEGER NOT NULL DEFAULT 0,
    UNIQUE (study_id, series_instance_uid)
) STRICT;
CREATE INDEX series_by_modality ON series (modality, study_id);

-- receive (insert), compress (parcel_id, pack_failures, quarantine, removal), forward (receipt), web (send again)
CREATE TABLE instance (
    id                  INTEGER PRIMARY KEY,
    study_id            INTEGER NOT NULL REFERENCES study (id),
    series_id           INTEGER NOT NULL REFERENCES series (id),
    sop_class_uid       TEXT    NOT NULL,
    sop_instance_uid    TEXT    NOT NULL,
    transfer_syntax_uid TEXT    NOT NULL,
    instance_number     TEXT    NOT NULL,
    frames              INTEGER NOT NULL,
    digest              BLOB    NOT NULL CHECK (length(digest) = 32), -- SHA-256 of the data set bytes as sent
    bytes               INTEGER NOT NULL,                             -- data set bytes
    file                TEXT    NOT NULL UNIQUE,                      -- below spool/, a name of ours
    state               TEXT    NOT NULL DEFAULT 'received'
                        CHECK (state IN ('received', 'packed', 'delivered', 'quarantined', 'removed')),
    conflict            INTEGER NOT NULL DEFAULT 0, -- other bytes came under the same SOP Instance UID
    parcel_id           INTEGER REFERENCES parcel (id),
    pack_failures       INTEGER NOT NULL DEFAULT 0, -- times a worker died on it; from 1 on it goes plain
    refusals            INTEGER NOT NULL DEFAULT 0, -- times the hub could not use what it was packed into
    reason              TEXT    NOT NULL DEFAULT '', -- why it is quarantined: an error id of errors.py
    calling_ae          TEXT    NOT NULL,
    calling_address     TEXT    NOT NULL,
    received_at         INTEGER NOT NULL,
    delivered_at        INTEGER,
    hub_held_at         INTEGER, -- the receipt: when the hub says it had it, by the hub's clock
    UNIQUE (sop_instance_uid, digest)
) STRICT;
CREATE INDEX instance_to_pack ON instance (study_id, series_id, id) WHERE state = 'received';
CREATE INDEX instance_of_study ON instance (study_id, series_id, id);
CREATE INDEX instance_of_parcel ON instance (parcel_id) WHERE parcel_id IS NOT NULL;
CREATE INDEX instance_to_remove ON instance (delivered_at) WHERE state = 'delivered';
CREATE INDEX instance_in_need ON instance (study_id) WHERE state = 'quarantined';
CREATE INDEX instance_in_conflict ON instance (study_id, sop_instance_uid) WHERE conflict = 1;

-- compress (insert, removal), web (superseded_at), forward (all else)
CREATE TABLE parcel (
    id           INTEGER PRIMARY KEY,
    study_id     INTEGER NOT NULL REFERENCES study (id),
    digest       BLOB    NOT NULL CHECK (length(digest) = 32), -- SHA-256 of the parcel's bytes
    bytes        INTEGER NOT NULL,
    data_bytes   INTEGER NOT NULL, -- data set bytes of what is in it
    instances    INTEGER NOT NULL,
    file         TEXT    NOT NULL UNIQUE, -- below parcels/, a name of ours
    state        TEXT    NOT NULL DEFAULT 'built' CHECK (state IN ('built', 'open', 'uploaded', 'delivered', 'refused')),
    built_at     INTEGER NOT NULL,
    upload_url   TEXT    NOT NULL DEFAULT '',
    hub_offset   INTEGER NOT NULL DEFAULT 0, -- bytes that the hub said are durable
    progress     INTEGER NOT NULL DEFAULT 0, -- for the page: hub_offset and what its TCP acknowledged since, at most 1 s old
    sent_bytes   INTEGER NOT NULL DEFAULT 0, -- bytes put on the wire in all, retransmissions of ours counted
    refusals     INTEGER NOT NULL DEFAULT 0,
    refusal      TEXT    NOT NULL DEFAULT '',
    opened_at    INTEGER,
    uploaded_at  INTEGER,
    delivered_at INTEGER,
    file_gone_at INTEGER,
    superseded_at INTEGER -- a person sent its instances again: it no longer counts in the study's progress
) STRICT;
CREATE INDEX parcel_to_send ON parcel (study_id, id) WHERE state IN ('built', 'open');
CREATE INDEX parcel_to_verify ON parcel (id) WHERE state = 'uploaded';
CREATE INDEX parcel_to_remove ON parcel (id) WHERE state IN ('delivered', 'refused') AND file_gone_at IS NULL;
CREATE INDEX parcel_of_study ON parcel (study_id);
CREATE INDEX parcel_by_digest ON parcel (digest);

-- compress (insert), forward (acknowledged_at): headers that the hub holds and that may serve as a zstd dictionary
CREATE TABLE dictionary (
    id              INTEGER PRIMARY KEY,
    series_id       INTEGER NOT NULL REFERENCES series (id),
    parcel_id       INTEGER NOT NULL REFERENCES parcel (id), -- it is acknowledged when this parcel is verified
    digest          BLOB    NOT NULL CHECK (length(digest) = 32), -- SHA-256 of the header bytes
    header          BLOB    NOT NULL, -- zstd
    acknowledged_at INTEGER,
    withdrawn_at    INTEGER, -- the hub said that it lacks it
    UNIQUE (series_id, digest)
) STRICT;

-- receive (seen), web (decision)
CREATE TABLE device (
    id          INTEGER PRIMARY KEY,
    calling_ae  TEXT    NOT NULL,
    address     TEXT    NOT NULL,
    called_ae   TEXT    NOT NULL,
    first_seen  INTEGER NOT NULL,
    last_seen   INTEGER NOT NULL,
    attempts    INTEGER NOT NULL DEFAULT 1,
    decision    TEXT    CHECK (decision IN ('allowed', 'refused')), -- NULL: nobody decided yet
    decided_at  INTEGER,
    decided_by  TEXT,
    name        TEXT    NOT NULL DEFAULT '',
    settle_ms   INTEGER,
    priority    INTEGER NOT NULL DEFAULT 2,
    UNIQUE (calling_ae, address)
) STRICT;

-- receive (insert), web (dismissed_at): what was refused to a modality, so that a person can act on it
CREATE TABLE refused_store (
    id               INTEGER PRIMARY KEY,
    at               INTEGER NOT NULL,
    last_at          INTEGER NOT NULL,
    times            INTEGER NOT NULL DEFAULT 1,
    calling_ae       TEXT    NOT NULL,
    address          TEXT    NOT NULL,
    status           INTEGER NOT NULL, -- the DICOM status that was answered (PS3.4 B.2.3)
    error_id         TEXT    NOT NULL,
    dismissed_at     INTEGER
) STRICT;
CREATE UNIQUE INDEX refused_store_open ON refused_store (calling_ae, address, status, error_id) WHERE dismissed_at IS NULL;

-- every process: what happened to a study, for its timeline
CREATE TABLE event (
    id       INTEGER PRIMARY KEY,
    study_id INTEGER NOT NULL REFERENCES study (id),
    at       INTEGER NOT NULL,
    kind     TEXT    NOT NULL,
    count    INTEGER NOT NULL DEFAULT 0,
    detail   TEXT    NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX event_of_study ON event (study_id, id);

-- forward: one row, the line as measured
CREATE TABLE link (
    id             INTEGER PRIMARY KEY CHECK (id = 1),
    up             INTEGER NOT NULL,
    since          INTEGER NOT NULL, -- of this state
    rate           REAL    NOT NULL, -- bytes a second while sending, smoothed; 0: not measured yet
    rate_spread    REAL    NOT NULL DEFAULT 0.25, -- its standard deviation as a share of it
    round_trip_ms  REAL    NOT NULL,
    hub_seen_at    INTEGER,          -- last answer of the hub
    hub_name       TEXT    NOT NULL DEFAULT '',
    clock_offset_ms INTEGER,         -- hub's clock minus ours
    problem        TEXT    NOT NULL DEFAULT '' -- error id while down or refused
) STRICT;

-- each process, its own row
CREATE TABLE process (
    name       TEXT    PRIMARY KEY,
    pid        INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    beat_at    INTEGER NOT NULL,
    status     TEXT    NOT NULL
) STRICT;

-- web
CREATE TABLE user (
    id          INTEGER PRIMARY KEY,
    name        TEXT    NOT NULL UNIQUE,
    role        TEXT    NOT NULL CHECK (role IN ('radiographer', 'engineer')),
    pin_hash    TEXT    NOT NULL,
    created_at  INTEGER NOT NULL,
    disabled_at INTEGER
) STRICT;

-- web
CREATE TABLE session (
    id         INTEGER PRIMARY KEY,
    token_hash BLOB    NOT NULL UNIQUE,
    user_id    INTEGER NOT NULL REFERENCES user (id),
    address    TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    seen_at    INTEGER NOT NULL,
    revoked_at INTEGER
) STRICT;

-- web: failed logins, for the throttle
CREATE TABLE login_failure (
    id      INTEGER PRIMARY KEY,
    at      INTEGER NOT NULL,
    address TEXT    NOT NULL,
    name    TEXT    NOT NULL
) STRICT;
CREATE INDEX login_failure_by_time ON login_failure (at);

-- audit, from any process
CREATE TABLE audit_event (
    id       INTEGER PRIMARY KEY,
    at       INTEGER NOT NULL,
    actor    TEXT    NOT NULL, -- a user's name, or the process
    role     TEXT    NOT NULL,
    address  TEXT    NOT NULL,
    action   TEXT    NOT NULL,
    study_id INTEGER REFERENCES study (id),
    detail   TEXT    NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX audit_event_of_study ON audit_event (study_id) WHERE study_id IS NOT NULL;
CREATE TRIGGER audit_event_is_never_changed BEFORE UPDATE ON audit_event BEGIN
    SELECT RAISE(ABORT, 'the audit trail is never changed');
END;
CREATE TRIGGER audit_event_is_never_removed BEFORE DELETE ON audit_event BEGIN
    SELECT RAISE(ABORT, 'the audit trail is never changed');
END;

-- Counters of a study follow its instances in the same transaction, so that a list of studies never counts instances.
CREATE TRIGGER instance_arrives AFTER INSERT ON instance BEGIN
    UPDATE study SET
        instances = instances + 1,
        bytes = bytes + NEW.bytes,
        received = received + (NEW.state = 'received'),
        received_bytes = received_bytes + iif(NEW.state = 'received', NEW.bytes, 0),
        conflicts = conflicts + NEW.conflict,
        delivered_at = NULL,
        whole_at = NULL
    WHERE id = NEW.study_id;
    UPDATE series SET instances = instances + 1 WHERE id = NEW.series_id;
END;
CREATE TRIGGER instance_changes AFTER UPDATE OF state, conflict ON instance
WHEN OLD.state <> NEW.state OR OLD.conflict <> NEW.conflict BEGIN
    UPDATE study SET
        received = received + (NEW.state = 'received') - (OLD.state = 'received'),
        received_bytes = received_bytes + iif(NEW.state = 'received', NEW.bytes, 0) - iif(OLD.state = 'received', NEW.bytes, 0),
        packed = packed + (NEW.state = 'packed') - (OLD.state = 'packed'),
        delivered = delivered + (NEW.state IN ('delivered', 'removed')) - (OLD.state IN ('delivered', 'removed')),
        quarantined = quarantined + (NEW.state = 'quarantined') - (OLD.state = 'quarantined'),
        conflicts = conflicts + NEW.conflict - OLD.conflict
    WHERE id = NEW.study_id;
    UPDATE study SET
        delivered_at = iif(delivered = instances, coalesce(delivered_at, NEW.delivered_at), NULL),
        whole_at = iif(delivered = instances, whole_at, NULL)
    WHERE id = NEW.study_id;
END;

-- The search text follows the study.
CREATE TRIGGER study_text_arrives AFTER INSERT ON study BEGIN
    INSERT INTO study_text (rowid, patient_name, patient_id, accession_number)
    VALUES (NEW.id, NEW.patient_name, NEW.patient_id, NEW.accession_number);
END;
CREATE TRIGGER study_text_changes AFTER UPDATE OF patient_name, patient_id, accession_number ON study BEGIN
    INSERT INTO study_text (study_text, rowid, patient_name, patient_id, accession_number)
    VALUES ('delete', OLD.id, OLD.patient_name, OLD.patient_id, OLD.accession_number);
    INSERT INTO study_text (rowid, patient_name, patient_id, accession_number)
    VALUES (NEW.id, NEW.patient_name, NEW.patient_id, NEW.accession_number);
END;
CREATE TRIGGER parcel_arrives AFTER INSERT ON parcel WHEN NEW.state IN ('built', 'open') BEGIN
    UPDATE study SET to_send = to_send + 1, to_send_bytes = to_send_bytes + NEW.bytes - NEW.hub_offset
    WHERE id = NEW.study_id;
END;
CREATE TRIGGER parcel_changes AFTER UPDATE OF state, hub_offset ON parcel
WHEN OLD.state <> NEW.state OR OLD.hub_offset <> NEW.hub_offset BEGIN
    UPDATE study SET
        to_send = to_send + (NEW.state IN ('built', 'open')) - (OLD.state IN ('built', 'open')),
        to_send_bytes = to_send_bytes
            + iif(NEW.state IN ('built', 'open'), NEW.bytes - NEW.hub_offset, 0)
            - iif(OLD.state IN ('built', 'open'), OLD.bytes - OLD.hub_offset, 0)
    WHERE id = NEW.study_id;
END;
