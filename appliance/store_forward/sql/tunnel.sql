-- What the process `tunnel` writes, and what others read of it.

-- name: write_tunnel
INSERT INTO tunnel (id, state, since, handshake_at, endpoint, public_key, received, sent, problem, clock_set)
VALUES (1, :state, :since, :handshake_at, :endpoint, :public_key, :received, :sent, :problem, :clock_set)
ON CONFLICT (id) DO UPDATE SET
    state = excluded.state,
    since = excluded.since,
    handshake_at = coalesce(excluded.handshake_at, handshake_at),
    endpoint = excluded.endpoint,
    public_key = excluded.public_key,
    received = excluded.received,
    sent = excluded.sent,
    problem = excluded.problem,
    clock_set = excluded.clock_set

-- name: read_tunnel
SELECT * FROM tunnel WHERE id = 1

-- name: read_tunnel_facts
-- One row: the tunnel, the uplink in use, what the watchdog did last, and when its process last beat.
SELECT tunnel.*, uplink.name AS uplink, uplink.since AS uplink_since, process.beat_at,
    tunnel_event.step, tunnel_event.at AS step_at, tunnel_event.outcome AS step_outcome
FROM tunnel
LEFT JOIN uplink ON uplink.in_use = 1
LEFT JOIN process ON process.name = 'tunnel'
LEFT JOIN tunnel_event ON tunnel_event.id = (SELECT max(id) FROM tunnel_event WHERE step <> 'state')
WHERE tunnel.id = 1

-- name: forget_uplinks
-- Uplinks that are no longer in the configuration.
DELETE FROM uplink WHERE name NOT IN (SELECT value FROM json_each(:names))

-- name: add_uplink
INSERT INTO uplink (name, place, since) VALUES (:name, :place, :now) ON CONFLICT (name) DO UPDATE SET place = :place

-- name: uplink_not_in_use
UPDATE uplink SET in_use = 0, since = :now WHERE in_use = 1 AND name <> :name

-- name: uplink_in_use
UPDATE uplink SET in_use = 1, since = :now WHERE name = :name AND in_use = 0

-- name: write_uplink
UPDATE uplink SET worked_at = coalesce(:worked_at, worked_at), problem = :problem WHERE name = :name

-- name: read_uplinks
SELECT name, place, in_use, since, worked_at, problem FROM uplink ORDER BY place

-- name: add_tunnel_event
INSERT INTO tunnel_event (at, step, outcome, detail) VALUES (:at, :step, :outcome, :detail)

-- name: forget_tunnel_events
DELETE FROM tunnel_event WHERE id <= (SELECT max(id) FROM tunnel_event) - :kept

-- name: read_tunnel_events
SELECT at, step, outcome, detail FROM tunnel_event ORDER BY id DESC LIMIT :limit
