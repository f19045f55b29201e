-- What `appliance courier` reads from and writes to the queue.

-- name: waiting
-- Parcels that are not verified at the hub, in the order of the line: what the hub has of them does not matter. :study
-- is a Study Instance UID or NULL, :priorities a JSON array.
SELECT parcel.digest, parcel.bytes, parcel.file, study.study_instance_uid, study.patient_name, study.patient_id,
    study.accession_number, study.study_date, study.study_description, study.priority, study.instances
FROM parcel JOIN study ON study.id = parcel.study_id
WHERE parcel.state IN ('built', 'open', 'uploaded') AND parcel.file_gone_at IS NULL
    AND study.study_instance_uid = coalesce(:study, study.study_instance_uid)
    AND study.priority IN (SELECT value FROM json_each(:priorities))
ORDER BY study.priority, study.first_received_at, study.id, parcel.id

-- name: unpacked
-- What waits to be packed, of the same choice.
SELECT coalesce(sum(received), 0) AS instances, coalesce(sum(received_bytes), 0) AS bytes FROM study
WHERE received > 0 AND study_instance_uid = coalesce(:study, study_instance_uid)
    AND priority IN (SELECT value FROM json_each(:priorities))

-- name: has_study
SELECT 1 FROM study WHERE study_instance_uid = :study

-- name: settled
-- Whether a parcel of this digest is delivered or refused.
SELECT 1 FROM parcel WHERE digest = :digest AND state IN ('delivered', 'refused') LIMIT 1

-- name: of_digest
-- Parcels of this digest, the newest first.
SELECT id, study_id, digest, bytes, file, state, upload_url, hub_offset, refusals FROM parcel
WHERE digest = :digest ORDER BY id DESC

-- name: courier
SELECT hub_key, hub_key_at, exported_at, exported_parcels, exported_bytes, receipts_at FROM courier WHERE id = 1

-- name: hub_key
INSERT INTO courier (id, hub_key, hub_key_at) VALUES (1, :key, :now)
ON CONFLICT (id) DO UPDATE SET hub_key = excluded.hub_key, hub_key_at = excluded.hub_key_at

-- name: exported
INSERT INTO courier (id, exported_at, exported_parcels, exported_bytes) VALUES (1, :now, :parcels, :bytes)
ON CONFLICT (id) DO UPDATE SET exported_at = excluded.exported_at, exported_parcels = excluded.exported_parcels,
    exported_bytes = excluded.exported_bytes

-- name: receipts
INSERT INTO courier (id, receipts_at) VALUES (1, :now)
ON CONFLICT (id) DO UPDATE SET receipts_at = excluded.receipts_at
