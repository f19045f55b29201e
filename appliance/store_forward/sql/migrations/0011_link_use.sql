-- How much of the line may be used, and what goes next.

-- forward: what each uplink carried in a calendar month of the site's time zone, both ways, headers and tunnel counted
CREATE TABLE uplink_usage (
    uplink     TEXT    NOT NULL,           -- its name in the configuration; '' when it has none
    month      TEXT    NOT NULL,           -- YYYY-MM
    bytes      INTEGER NOT NULL DEFAULT 0,
    stat_bytes INTEGER NOT NULL DEFAULT 0, -- of these, for stat studies
    PRIMARY KEY (uplink, month)
) STRICT;

-- web and `appliance link`: one row, the pause that a person asked for
CREATE TABLE link_control (
    id           INTEGER PRIMARY KEY CHECK (id = 1),
    paused_at    INTEGER,                    -- NULL: not paused
    paused_until INTEGER,                    -- NULL: until somebody resumes
    paused_by    TEXT    NOT NULL DEFAULT '',
    pauses_stat  INTEGER NOT NULL DEFAULT 0  -- stat studies wait too
) STRICT;

-- forward: the hub's wishes within a priority; the lower goes first, 0 is what nobody asked for
ALTER TABLE parcel ADD COLUMN rank INTEGER NOT NULL DEFAULT 0;
-- forward: since when it stays here because the hub has enough; NULL: it goes
ALTER TABLE parcel ADD COLUMN held_at INTEGER;
-- compress (insert): its first bytes that are a preview; 0: it has none
ALTER TABLE parcel ADD COLUMN preview_bytes INTEGER NOT NULL DEFAULT 0;

CREATE INDEX parcel_may_go ON parcel (study_id, id) WHERE state IN ('built', 'open') AND held_at IS NULL;
CREATE INDEX parcel_may_show ON parcel (study_id, id)
    WHERE state IN ('built', 'open') AND held_at IS NULL AND hub_offset < preview_bytes;
CREATE INDEX parcel_wished ON parcel (rank, id) WHERE state IN ('built', 'open') AND held_at IS NULL AND rank <> 0;
CREATE INDEX parcel_open ON parcel (id) WHERE state = 'open';

-- forward: the priorities that a rule or a pause holds back now (JSON array of numbers)
ALTER TABLE link ADD COLUMN held TEXT NOT NULL DEFAULT '[]';
