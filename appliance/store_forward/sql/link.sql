-- What may use the line: the pause that a person asked for, and what each uplink carried.

-- name: control
SELECT paused_at, paused_until, paused_by, pauses_stat FROM link_control WHERE id = 1

-- name: set_pause
INSERT INTO link_control (id, paused_at, paused_until, paused_by, pauses_stat) VALUES (1, :at, :until, :by, :stat)
ON CONFLICT (id) DO UPDATE SET
    paused_at = excluded.paused_at, paused_until = excluded.paused_until, paused_by = excluded.paused_by,
    pauses_stat = excluded.pauses_stat

-- name: end_pause
UPDATE link_control SET paused_at = NULL, paused_until = NULL, paused_by = '', pauses_stat = 0
WHERE id = 1 AND paused_at IS NOT NULL

-- name: usage
SELECT uplink, bytes, stat_bytes FROM uplink_usage WHERE month = :month ORDER BY uplink

-- name: add_usage
INSERT INTO uplink_usage (uplink, month, bytes, stat_bytes) VALUES (:uplink, :month, :bytes, :stat_bytes)
ON CONFLICT (uplink, month) DO UPDATE SET bytes = bytes + excluded.bytes, stat_bytes = stat_bytes + excluded.stat_bytes

-- name: uplink
SELECT name FROM uplink WHERE in_use = 1
