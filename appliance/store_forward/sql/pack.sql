-- What `packing` and `retention` read from and write to the queue. Changes of state go through queue.move_instances.

-- name: studies_to_pack
-- Studies with instances that wait, in their turn.
SELECT id, study_instance_uid, priority, last_received_at
FROM study INDEXED BY study_to_pack
WHERE received > 0
ORDER BY priority, first_received_at
LIMIT :limit

-- name: waiting
-- Of one study the first :limit instances that wait and are not being packed or at rest (:busy, JSON array of ids),
-- those of the series :first (JSON array of ids) before others. :only, unless NULL: no other than these (the same).
SELECT id, series_id, sop_class_uid, sop_instance_uid, transfer_syntax_uid, digest, bytes, file, pack_failures,
    calling_ae, received_at
FROM instance
WHERE study_id = :study_id AND state = 'received' AND id NOT IN (SELECT value FROM json_each(:busy))
    AND (:only IS NULL OR id IN (SELECT value FROM json_each(:only)))
ORDER BY series_id IN (SELECT value FROM json_each(:first)) DESC, series_id, id
LIMIT :limit

-- name: line
-- Parcels that wait for the line, the bytes of them that the hub lacks, and whether the line is up. What the hub does not
-- want now waits for no line.
SELECT coalesce(sum(to_send), 0) - (
        SELECT count(*) FROM parcel INDEXED BY parcel_held WHERE held_at IS NOT NULL AND state IN ('built', 'open')
    ) AS parcels,
    coalesce(sum(to_send_bytes), 0) - (
        SELECT coalesce(sum(bytes - hub_offset), 0) FROM parcel INDEXED BY parcel_held
        WHERE held_at IS NOT NULL AND state IN ('built', 'open')
    ) AS bytes,
    coalesce((SELECT up FROM link WHERE id = 1), 0) AS up
FROM study WHERE to_send > 0

-- name: dictionary
-- The latest header of the series that the hub is known to hold.
SELECT header FROM dictionary
WHERE series_id = :series_id AND acknowledged_at IS NOT NULL AND withdrawn_at IS NULL
ORDER BY id DESC LIMIT 1

-- name: latest_header
-- Of a series the header that was put into a parcel last to serve as a dictionary, and when the hub said it holds it.
SELECT header, acknowledged_at FROM dictionary
WHERE series_id = :series_id AND withdrawn_at IS NULL
ORDER BY id DESC LIMIT 1

-- name: has_dictionary
-- Whether the hub holds a header of the series, will hold one, or was found to lose them.
SELECT 1 FROM dictionary JOIN parcel ON parcel.id = dictionary.parcel_id
WHERE dictionary.series_id = :series_id AND (dictionary.withdrawn_at IS NOT NULL OR parcel.state <> 'refused')
LIMIT 1

-- name: waiting_of
-- Of these instances (JSON array of ids) those that wait.
SELECT id FROM instance WHERE state = 'received' AND id IN (SELECT value FROM json_each(:ids))

-- name: still_waiting
SELECT count(*) FROM instance WHERE state = 'received' AND id IN (SELECT value FROM json_each(:ids))

-- name: add_parcel
INSERT INTO parcel (study_id, digest, bytes, data_bytes, instances, file, built_at, preview_bytes)
VALUES (:study_id, :digest, :bytes, :data_bytes, :instances, :file, :now, :preview_bytes)

-- name: put_into_parcel
UPDATE instance SET parcel_id = :parcel_id WHERE id IN (SELECT value FROM json_each(:ids))

-- name: add_dictionary
-- Again after a refusal: it is acknowledged when this parcel is verified.
INSERT INTO dictionary (series_id, parcel_id, digest, header) VALUES (:series_id, :parcel_id, :digest, :header)
ON CONFLICT (series_id, digest) DO UPDATE SET parcel_id = excluded.parcel_id, acknowledged_at = NULL
WHERE withdrawn_at IS NULL

-- name: extend_event
-- One line in the timeline for all parcels that were packed one after the other.
UPDATE event SET at = :now, count = count + :count
WHERE kind = 'packed' AND id = (SELECT max(id) FROM event WHERE study_id = :study_id)

-- name: count_failure
UPDATE instance SET pack_failures = pack_failures + 1 WHERE id = :id

-- name: failing
-- An instance that could not be packed, if it still waits and no other copy took the place of its file meanwhile.
SELECT study_id FROM instance WHERE id = :id AND file = :file AND state = 'received'

-- name: set_reason
UPDATE instance SET reason = :reason WHERE id = :id

-- name: parcel_files
-- Every parcel whose file ought to be there.
SELECT id, study_id, file, state FROM parcel WHERE file_gone_at IS NULL

-- name: packed_of_parcel
SELECT id FROM instance WHERE parcel_id = :id AND state = 'packed'

-- name: expired
-- Instances with a receipt older than :before whose spool file may go.
SELECT id, file FROM instance INDEXED BY instance_to_remove
WHERE state = 'delivered' AND delivered_at < :before AND hub_held_at IS NOT NULL
ORDER BY delivered_at LIMIT :limit

-- name: spent_parcels
-- Parcels whose file nobody needs any more.
SELECT id, file FROM parcel INDEXED BY parcel_to_remove
WHERE state IN ('delivered', 'refused') AND file_gone_at IS NULL
ORDER BY id LIMIT :limit

-- name: parcels_gone
UPDATE parcel SET file_gone_at = :now WHERE id IN (SELECT value FROM json_each(:ids))

-- name: forget_dictionaries
-- Headers of studies that are whole at the hub since :before. A late instance of them is packed without.
DELETE FROM dictionary WHERE id IN (
    SELECT dictionary.id FROM dictionary
    JOIN series ON series.id = dictionary.series_id
    JOIN study ON study.id = series.study_id
    WHERE study.whole_at < :before
)
