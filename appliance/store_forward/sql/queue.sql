-- Changes of state, and what every process writes.

-- name: move_instances
-- Moves the instances :ids (JSON array) to the state that :table (JSON object, before → after) gives for theirs.
UPDATE instance SET state = json_extract(:table, '$.' || state)
WHERE id IN (SELECT value FROM json_each(:ids)) AND state IN (SELECT key FROM json_each(:table))

-- name: parcel_state
SELECT state FROM parcel WHERE id = :id

-- name: set_parcel_state
UPDATE parcel SET state = :state WHERE id = :id

-- name: record_event
INSERT INTO event (study_id, at, kind, count, detail) VALUES (:study_id, :at, :kind, :count, :detail)

-- name: beat
-- A start is a row with a new pid.
INSERT INTO process (name, pid, started_at, beat_at, status, problem)
VALUES (:name, :pid, :now, :now, :status, :problem)
ON CONFLICT (name) DO UPDATE SET
    started_at = iif(pid = excluded.pid, started_at, excluded.started_at),
    pid = excluded.pid, beat_at = excluded.beat_at, status = excluded.status, problem = excluded.problem
