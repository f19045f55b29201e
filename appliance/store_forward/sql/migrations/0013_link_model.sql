-- What this line has shown by hour of day, how well estimates held, and what is expected now. One row; JSON of
-- appliance/store_forward/forecasts.py. Only `forward` writes it.
CREATE TABLE link_model (
    id          INTEGER PRIMARY KEY CHECK (id = 1),
    history     TEXT    NOT NULL,
    calibration TEXT    NOT NULL,
    learnt_at   INTEGER NOT NULL,
    expected    TEXT    NOT NULL DEFAULT '[]',
    expected_at INTEGER NOT NULL DEFAULT 0
);
