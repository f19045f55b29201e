-- Studies that are carried on a stick.

-- one row; forward: hub_key, hub_key_at; `appliance courier`: the rest
CREATE TABLE courier (
    id               INTEGER PRIMARY KEY CHECK (id = 1),
    hub_key          TEXT    NOT NULL DEFAULT '', -- the public key that the hub said last, over the line
    hub_key_at       INTEGER,
    exported_at      INTEGER,                     -- when a stick was written last
    exported_parcels INTEGER NOT NULL DEFAULT 0,  -- on it
    exported_bytes   INTEGER NOT NULL DEFAULT 0,
    receipts_at      INTEGER                      -- when receipts came on a stick last
) STRICT;
