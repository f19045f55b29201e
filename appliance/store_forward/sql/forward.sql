-- What `forward` reads from and writes to the queue. Changes of state go through queue.move_instances and move_parcel.

-- name: candidates
-- The first :limit parcels in turn of one :priority that may go, but those of :excluded (JSON array). Two indexes give
-- the order, so that a million waiting instances cost nothing. The braces take candidate_columns.
SELECT {columns}
FROM study INDEXED BY study_to_send
CROSS JOIN parcel INDEXED BY parcel_may_go ON parcel.study_id = study.id AND parcel.state IN ('built', 'open')
    AND parcel.held_at IS NULL
WHERE study.to_send > 0 AND study.priority = :priority AND parcel.id NOT IN (SELECT value FROM json_each(:excluded))
ORDER BY study.first_received_at, study.id, parcel.id
LIMIT :limit

-- name: candidates_to_show
-- The first :limit parcels with a preview that the hub lacks, the study that came first before others.
SELECT {columns}
FROM parcel INDEXED BY parcel_may_show JOIN study ON study.id = parcel.study_id
WHERE parcel.state IN ('built', 'open') AND parcel.held_at IS NULL AND parcel.hub_offset < parcel.preview_bytes
    AND parcel.id NOT IN (SELECT value FROM json_each(:excluded))
ORDER BY parcel.study_id, parcel.id
LIMIT :limit

-- name: candidates_wished
-- The first :limit parcels that the hub wants sooner than their turn.
SELECT {columns}
FROM parcel INDEXED BY parcel_wished JOIN study ON study.id = parcel.study_id
WHERE parcel.state IN ('built', 'open') AND parcel.held_at IS NULL AND parcel.rank < 0 AND parcel.rank <> 0
    AND parcel.id NOT IN (SELECT value FROM json_each(:excluded))
ORDER BY parcel.rank, parcel.id
LIMIT :limit

-- name: candidate_columns
parcel.id, parcel.study_id, study.priority, study.first_received_at, parcel.digest, parcel.bytes, parcel.file,
    parcel.state, parcel.upload_url, parcel.hub_offset, parcel.refusals, parcel.rank, parcel.held_at,
    parcel.preview_bytes

-- name: candidate
SELECT {columns} FROM parcel JOIN study ON study.id = parcel.study_id WHERE parcel.id = :id

-- name: open_parcels
-- How many uploads the hub keeps for us.
SELECT count(*) FROM parcel INDEXED BY parcel_open WHERE state = 'open'

-- name: opened
-- The hub has an upload for it.
UPDATE parcel SET upload_url = :target, hub_offset = :offset, progress = :offset, opened_at = coalesce(opened_at, :now)
WHERE id = :id

-- name: held
-- The hub said how many bytes of it are durable.
UPDATE parcel SET hub_offset = :offset, progress = :offset WHERE id = :id

-- name: progress
-- What the hub's TCP acknowledged so far, for the page, and what was put on the wire since the last time.
UPDATE parcel SET progress = min(bytes, max(hub_offset, :progress)), sent_bytes = sent_bytes + :sent WHERE id = :id

-- name: uploaded
UPDATE parcel SET hub_offset = bytes, progress = bytes, uploaded_at = coalesce(uploaded_at, :now) WHERE id = :id

-- name: forgotten
-- The hub has no upload of it: what it held is nothing now.
UPDATE parcel SET upload_url = '', hub_offset = 0, progress = 0, uploaded_at = NULL, refusals = refusals + :refusals,
    refusal = :refusal
WHERE id = :id

-- name: to_verify
-- The next :limit parcels after :after that wait for the hub's verdict, but those of :excluded (JSON array).
SELECT id, study_id, digest, bytes, file, upload_url, hub_offset, refusals, preview_bytes FROM parcel
WHERE state = 'uploaded' AND id > :after AND id NOT IN (SELECT value FROM json_each(:excluded))
ORDER BY id LIMIT :limit

-- name: instances_of_parcel
SELECT id, sop_instance_uid, digest FROM instance WHERE parcel_id = :id

-- name: received
-- Receipts: :held is a JSON array of [id, held at by the hub's clock, 1 if the hub holds other bytes under its UID too].
UPDATE instance SET
    delivered_at = coalesce(delivered_at, :now),
    hub_held_at = held.value ->> 1,
    conflict = max(conflict, held.value ->> 2)
FROM json_each(:held) AS held WHERE instance.id = held.value ->> 0

-- name: delivered
UPDATE parcel SET delivered_at = coalesce(delivered_at, :now), hub_offset = bytes, progress = bytes WHERE id = :id

-- name: acknowledge_dictionaries
-- The hub holds the headers that came with this parcel.
UPDATE dictionary SET acknowledged_at = :now
WHERE parcel_id = :id AND acknowledged_at IS NULL AND withdrawn_at IS NULL

-- name: withdraw_dictionaries
-- The hub lacks a header that this parcel was packed with: none of its series' headers is used again.
UPDATE dictionary SET withdrawn_at = :now
WHERE withdrawn_at IS NULL AND series_id IN (SELECT series_id FROM instance WHERE parcel_id = :id)

-- name: refused
UPDATE parcel SET refusal = :refusal, refusals = refusals + 1 WHERE id = :id

-- name: packed_of_parcel
-- Instances of the parcel that are still to be delivered, but those of :excluded (JSON array).
SELECT id, refusals FROM instance
WHERE parcel_id = :id AND state = 'packed' AND id NOT IN (SELECT value FROM json_each(:excluded))

-- name: count_refusal
-- :plain is 1 when the packing is to blame: such an instance goes plain from now on.
UPDATE instance SET refusals = refusals + 1, pack_failures = pack_failures + :plain
WHERE id IN (SELECT value FROM json_each(:ids))

-- name: set_reason
UPDATE instance SET reason = :reason WHERE id IN (SELECT value FROM json_each(:ids))

-- name: to_call_whole
-- Studies that are delivered and have been quiet for their settle time, whichever way the clock jumped.
SELECT id, instances FROM study
WHERE delivered_at IS NOT NULL AND whole_at IS NULL AND abs(:now - last_received_at) >= settle_ms
LIMIT 100

-- name: call_whole
UPDATE study SET whole_at = :now WHERE id = :id AND delivered_at IS NOT NULL AND whole_at IS NULL

-- name: link
SELECT up, since, rate, round_trip_ms, hub_seen_at, hub_name, clock_offset_ms, problem, held FROM link WHERE id = 1

-- name: set_link
INSERT INTO link
    (id, up, since, rate, rate_spread, round_trip_ms, hub_seen_at, hub_name, clock_offset_ms, problem, held)
VALUES
    (1, :up, :since, :rate, :rate_spread, :round_trip_ms, :hub_seen_at, :hub_name, :clock_offset_ms, :problem, :held)
ON CONFLICT (id) DO UPDATE SET
    up = excluded.up, since = excluded.since, rate = excluded.rate, rate_spread = excluded.rate_spread,
    round_trip_ms = excluded.round_trip_ms, hub_seen_at = excluded.hub_seen_at, hub_name = excluded.hub_name,
    clock_offset_ms = excluded.clock_offset_ms, problem = excluded.problem,
    held = excluded.held
