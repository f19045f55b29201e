-- What `forecasts` reads of the queue and writes of the line.

-- name: facts
-- Bytes on the wire that the hub lacks, the newest parcel, and the line.
SELECT
    (SELECT coalesce(sum(to_send_bytes), 0) FROM study WHERE to_send > 0)
    - (SELECT coalesce(sum(max(progress - hub_offset, 0)), 0) FROM parcel WHERE state = 'open') AS backlog,
    (SELECT coalesce(max(id), 0) FROM parcel) AS newest,
    coalesce((SELECT up FROM link WHERE id = 1), 0) AS up,
    coalesce((SELECT rate FROM link WHERE id = 1), 0.0) AS rate

-- name: built_since
SELECT coalesce(sum(bytes), 0) AS bytes FROM parcel WHERE id > :newest

-- name: model
SELECT history, calibration FROM link_model WHERE id = 1

-- name: learn
INSERT INTO link_model (id, history, calibration, learnt_at) VALUES (1, :history, :calibration, :now)
ON CONFLICT (id) DO UPDATE SET
    history = excluded.history, calibration = excluded.calibration, learnt_at = excluded.learnt_at

-- name: expect
UPDATE link_model SET expected = :expected, expected_at = :now WHERE id = 1
