-- A study before it is at the hub: what the hub was told of it, and what the hub wishes of it.

-- forward: what the hub was told of a study last
CREATE TABLE study_notice (
    study_id  INTEGER PRIMARY KEY REFERENCES study (id),
    told_at   INTEGER NOT NULL,
    instances INTEGER NOT NULL, -- of the study then; so are the next two
    delivered INTEGER NOT NULL,
    priority  INTEGER NOT NULL
) STRICT;
CREATE INDEX study_notice_open ON study_notice (study_id) WHERE delivered < instances;
CREATE INDEX study_notice_by_age ON study_notice (told_at);

-- forward: what the hub wishes of studies, also of those that have not come yet; a wish for a study takes the place of all
-- before it, one for a series of that for the same series. The newest that concerns a series decides.
CREATE TABLE wish (
    id                 INTEGER PRIMARY KEY AUTOINCREMENT,
    study_instance_uid TEXT    NOT NULL,
    series             TEXT    NOT NULL, -- a Series Instance UID or a series number; '': the whole study
    kind               TEXT    NOT NULL CHECK (kind IN ('first', 'enough', 'all')),
    came_at            INTEGER NOT NULL,
    UNIQUE (study_instance_uid, series)
) STRICT;

-- forward: one row, the number of the hub's last wish that is in the queue
CREATE TABLE wish_known (
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    number INTEGER NOT NULL
) STRICT;

-- What the hub does not want now waits for no line.
CREATE INDEX parcel_held ON parcel (study_id, bytes, hub_offset) WHERE held_at IS NOT NULL AND state IN ('built', 'open');
