-- What `receive` writes: the facts of arrival, unknown devices, refusals. And what it asks at its start.

-- name: last_instance
SELECT coalesce(max(id), 0) FROM instance

-- name: find_study
SELECT id, patient_id FROM study WHERE study_instance_uid = :study_instance_uid

-- name: add_study
INSERT INTO study (
    study_instance_uid, patient_name, patient_id, issuer_of_patient_id, patient_birth_date, patient_sex,
    accession_number, study_description, study_date, study_time, referring_physician,
    priority, settle_ms, calling_ae, first_received_at, last_received_at
) VALUES (
    :study_instance_uid, :patient_name, :patient_id, :issuer_of_patient_id, :patient_birth_date, :patient_sex,
    :accession_number, :study_description, :study_date, :study_time, :referring_physician,
    :priority, :settle_ms, :calling_ae, :at, :at
) RETURNING id

-- name: touch_study
-- The clock may have jumped back: the time of the last arrival never does.
UPDATE study SET last_received_at = max(last_received_at, :at) WHERE id = :id

-- name: find_series
SELECT id FROM series WHERE study_id = :study_id AND series_instance_uid = :series_instance_uid

-- name: add_series
INSERT INTO series (study_id, series_instance_uid, modality, body_part, series_description, series_number)
VALUES (:study_id, :series_instance_uid, :modality, :body_part, :series_description, :series_number)
RETURNING id

-- name: same_uid
SELECT id, study_id, digest, state, reason, file FROM instance WHERE sop_instance_uid = :sop_instance_uid

-- name: add_instance
INSERT INTO instance (
    study_id, series_id, sop_class_uid, sop_instance_uid, transfer_syntax_uid, instance_number, frames,
    digest, bytes, file, conflict, calling_ae, calling_address, received_at
) VALUES (
    :study_id, :series_id, :sop_class_uid, :sop_instance_uid, :transfer_syntax_uid, :instance_number,
    :number_of_frames, :digest, :bytes, :file, :conflict, :calling_ae, :calling_address, :at
)

-- name: mark_conflict
UPDATE instance SET conflict = 1 WHERE id = :id

-- name: mark_identity_conflict
UPDATE study SET identity_conflict = 1 WHERE id = :id AND identity_conflict = 0

-- name: replace_file
-- The modality sent again what this box had lost or found damaged.
UPDATE instance SET file = :file, reason = '' WHERE id = :id

-- name: files_between
SELECT file FROM instance WHERE file >= :low AND file < :high

-- name: waiting_files
-- Instances whose file is still needed, after :id, in steps.
SELECT id, file FROM instance WHERE state = 'received' AND id > :id ORDER BY id LIMIT :limit

-- name: is_waiting
SELECT file FROM instance WHERE id = :id AND state = 'received'

-- name: set_reason
UPDATE instance SET reason = :reason WHERE id = :id

-- name: refused
INSERT INTO refused_store (at, last_at, calling_ae, address, status, error_id)
VALUES (:at, :at, :calling_ae, :address, :status, :error_id)
ON CONFLICT (calling_ae, address, status, error_id) WHERE dismissed_at IS NULL
DO UPDATE SET last_at = max(last_at, excluded.last_at), times = times + 1

-- name: find_device
SELECT decision, name, settle_ms, priority FROM device WHERE calling_ae = :calling_ae AND address = :address

-- name: allowed_addresses
SELECT DISTINCT address FROM device WHERE decision = 'allowed'

-- name: device_seen
INSERT INTO device (calling_ae, address, called_ae, first_seen, last_seen)
VALUES (:calling_ae, :address, :called_ae, :at, :at)
ON CONFLICT (calling_ae, address) DO UPDATE SET
    called_ae = excluded.called_ae, last_seen = max(last_seen, excluded.last_seen), attempts = attempts + 1

-- name: forget_oldest_devices
-- A peer that tries every AE title must not fill the table, nor the page.
DELETE FROM device WHERE decision IS NULL AND id NOT IN (
    SELECT id FROM device WHERE decision IS NULL ORDER BY last_seen DESC, id DESC LIMIT :keep
)

-- name: decide_device
UPDATE device SET
    decision = :decision, decided_at = :at, decided_by = :by, name = :name, settle_ms = :settle_ms, priority = :priority
WHERE id = :id
