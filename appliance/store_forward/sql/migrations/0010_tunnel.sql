-- The tunnel to the hub, the uplinks it goes by, and what was done for it.

-- tunnel: one row, the tunnel as last seen
CREATE TABLE tunnel (
    id           INTEGER PRIMARY KEY CHECK (id = 1),
    state        TEXT    NOT NULL CHECK (state IN ('up', 'stale', 'down')),
    since        INTEGER NOT NULL,            -- of this state
    handshake_at INTEGER,                     -- the last one, by this machine's clock; NULL: never
    endpoint     TEXT    NOT NULL DEFAULT '', -- ADDRESS:PORT that the kernel sends to
    public_key   TEXT    NOT NULL DEFAULT '', -- of this unit
    received     INTEGER NOT NULL DEFAULT 0,  -- bytes since the peer was set, as the interface counts them
    sent         INTEGER NOT NULL DEFAULT 0,
    problem      TEXT    NOT NULL DEFAULT '', -- a word of model/tunnel.py
    clock_set    INTEGER NOT NULL DEFAULT 0   -- this machine's clock was set by NTP since it started
) STRICT;

-- tunnel: the uplinks of the configuration, in its order
CREATE TABLE uplink (
    name      TEXT    PRIMARY KEY,
    place     INTEGER NOT NULL,            -- 0: the best
    in_use    INTEGER NOT NULL DEFAULT 0,  -- the tunnel's own packets go by it; one row at most
    since     INTEGER,                     -- of being in use, or of not being
    worked_at INTEGER,                     -- last time the tunnel was up by it
    problem   TEXT    NOT NULL DEFAULT ''  -- why it can't be used now
) STRICT;
CREATE UNIQUE INDEX uplink_in_use ON uplink (in_use) WHERE in_use = 1;

-- tunnel: what the watchdog did, and what came of it; the newest thousand are kept
CREATE TABLE tunnel_event (
    id      INTEGER PRIMARY KEY,
    at      INTEGER NOT NULL,
    step    TEXT    NOT NULL,            -- a word of model/tunnel.py; 'state' when the state changed
    outcome TEXT    NOT NULL,
    detail  TEXT    NOT NULL DEFAULT ''
) STRICT;
