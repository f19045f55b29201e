-- What `mpps` reads and writes.

-- name: find_step
SELECT id, state, bytes FROM performed_step WHERE sop_instance_uid = :sop_instance_uid

-- name: add_step
INSERT INTO performed_step (sop_instance_uid, state, calling_ae, address, created_at, changed_at, bytes)
VALUES (:sop_instance_uid, :state, :calling_ae, :address, :now, :now, 0)
ON CONFLICT (sop_instance_uid) DO NOTHING RETURNING id

-- name: change_step
UPDATE performed_step SET state = :state, changed_at = :now WHERE id = :id

-- name: add_message
INSERT INTO performed_message (step_id, at, operation, transfer_syntax_uid, data_set)
VALUES (:id, :now, :operation, :transfer_syntax_uid, :data_set)

-- name: count_bytes
UPDATE performed_step SET bytes = bytes + :bytes WHERE id = :id

-- name: add_study
INSERT INTO performed_study (study_instance_uid, step_id) VALUES (:study_instance_uid, :id) ON CONFLICT DO NOTHING

-- name: forget_images
DELETE FROM performed_image WHERE step_id = :id

-- name: add_image
INSERT INTO performed_image (step_id, sop_instance_uid) VALUES (:id, :sop_instance_uid) ON CONFLICT DO NOTHING

-- name: studies_of_step
-- Those of its studies of which something is here.
SELECT study.id FROM performed_study JOIN study USING (study_instance_uid) WHERE step_id = :id

-- name: states
-- The states of a study's steps.
SELECT DISTINCT step.state FROM study
JOIN performed_study AS of USING (study_instance_uid) JOIN performed_step AS step ON step.id = of.step_id
WHERE study.id = :study_id

-- name: names_any
-- Whether a step of the study names one of these instances (JSON array of UIDs).
SELECT 1 FROM study JOIN performed_study AS of USING (study_instance_uid)
JOIN performed_image AS image ON image.step_id = of.step_id
    AND image.sop_instance_uid IN (SELECT value FROM json_each(:uids))
WHERE study.id = :study_id LIMIT 1

-- name: named
-- How many instances the steps of a study name.
SELECT count(DISTINCT image.sop_instance_uid) FROM study
JOIN performed_study AS of USING (study_instance_uid) JOIN performed_image AS image ON image.step_id = of.step_id
WHERE study.id = :study_id

-- name: named_and_here
-- How many of them are on this box, or were.
SELECT count(*) FROM (
    SELECT DISTINCT image.sop_instance_uid FROM study
    JOIN performed_study AS of USING (study_instance_uid) JOIN performed_image AS image ON image.step_id = of.step_id
    WHERE study.id = :study_id
) AS named WHERE EXISTS (SELECT 1 FROM instance WHERE instance.sop_instance_uid = named.sop_instance_uid)

-- name: instances
SELECT instances FROM study WHERE id = :study_id

-- name: settle
-- The quiet time is over. The first value is kept: a second completion must not take the 1 for it.
UPDATE study SET usual_settle_ms = coalesce(usual_settle_ms, settle_ms), settle_ms = 1
WHERE id = :study_id AND usual_settle_ms IS NULL

-- name: forget
DELETE FROM performed_step WHERE id IN (
    SELECT id FROM performed_step WHERE changed_at < :before ORDER BY changed_at LIMIT :limit
)
