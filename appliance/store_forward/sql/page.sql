-- What the page, `appliance status` and `appliance doctor` read, and the few changes that a person makes.

-- name: pick_studies
-- Ids of one page of studies, newest first, after the place (:before_at, :before_id). The braces take one of the state_ conditions.
SELECT s.id FROM study AS s
WHERE (s.last_received_at, s.id) < (:before_at, :before_id)
  AND s.last_received_at >= :from_at AND s.last_received_at < :until_at
  AND {state}
  AND (:text IS NULL OR s.id IN (SELECT rowid FROM study_text WHERE study_text MATCH :text))
  AND (:modality IS NULL OR s.id IN (SELECT study_id FROM series WHERE modality = :modality))
ORDER BY s.last_received_at DESC, s.id DESC
LIMIT :limit

-- name: state_any
TRUE

-- name: state_under_way
(s.delivered < s.instances OR abs(:now - s.last_received_at) < s.settle_ms)

-- name: state_at_hub
s.delivered = s.instances AND abs(:now - s.last_received_at) >= s.settle_ms
AND NOT (s.quarantined > 0 OR s.conflicts + s.identity_conflict > s.conflicts_checked)

-- name: state_needs_help
(s.quarantined > 0 OR s.conflicts + s.identity_conflict > s.conflicts_checked)

-- name: studies
-- The lines of the studies :ids (JSON array).
SELECT s.*, p.wire_bytes, p.wire_done, p.wire_data_bytes, p.parcels_kept, p.parcels_going,
       (SELECT json_group_array(DISTINCT modality) FROM series WHERE study_id = s.id) AS modalities,
       (SELECT json_group_array(DISTINCT body_part) FROM series WHERE study_id = s.id) AS body_parts
FROM study AS s, (SELECT value AS id FROM json_each(:ids)) AS wanted
LEFT JOIN (
    SELECT study_id, sum(bytes) AS wire_bytes, sum(data_bytes) AS wire_data_bytes,
           sum(iif(state IN ('uploaded', 'delivered'), bytes, max(hub_offset, progress))) AS wire_done,
           sum(state IN ('built', 'open') AND held_at IS NOT NULL) AS parcels_kept,
           sum(state IN ('built', 'open') AND held_at IS NULL) AS parcels_going
    FROM parcel
    WHERE study_id IN (SELECT value FROM json_each(:ids)) AND state <> 'refused' AND superseded_at IS NULL
    GROUP BY study_id
) AS p ON p.study_id = s.id
WHERE s.id = wanted.id
ORDER BY s.last_received_at DESC, s.id DESC

-- name: going
-- Studies with packed bytes that the hub lacks, without what it does not want now: that goes before nothing.
SELECT id, priority, first_received_at, received > 0 AS unpacked, to_send_bytes - coalesce((
        SELECT sum(bytes - hub_offset) FROM parcel INDEXED BY parcel_held
        WHERE study_id = study.id AND held_at IS NOT NULL AND state IN ('built', 'open')
    ), 0) AS to_send_bytes
FROM study WHERE to_send > 0

-- name: first_unpacked
SELECT min(priority) AS priority FROM study WHERE received > 0

-- name: counts
-- Studies of today and studies under way. One that is all at the hub but not settled is under way; one of which all that
-- the hub lacks is kept back here is not: it does not go by itself.
SELECT
    (SELECT count(*) FROM study WHERE last_received_at >= :midnight) AS today,
    (SELECT count(*) FROM study WHERE last_received_at >= :midnight AND delivered = instances
        AND abs(:now - last_received_at) >= settle_ms) AS today_at_hub,
    (SELECT count(*) FROM study WHERE delivered < instances AND delivered + quarantined < instances)
    + (SELECT count(*) FROM study WHERE last_received_at > :now - 86400000 AND delivered = instances
        AND abs(:now - last_received_at) < settle_ms) AS under_way

-- name: modalities
-- Every modality that ever came, by a loose walk along the index.
WITH RECURSIVE found (modality) AS (
    SELECT min(modality) FROM series
    UNION ALL
    SELECT (SELECT min(modality) FROM series WHERE modality > found.modality) FROM found WHERE found.modality IS NOT NULL
)
SELECT modality FROM found WHERE modality <> '' LIMIT 50

-- name: line
SELECT * FROM link WHERE id = 1

-- name: expected
SELECT expected, expected_at FROM link_model WHERE id = 1

-- name: beats
SELECT name, beat_at, status, problem FROM process

-- name: studies_in_need
SELECT s.id, s.patient_name, s.last_received_at, s.quarantined, s.conflicts, s.identity_conflict, s.conflicts_checked,
       coalesce((SELECT min(reason) FROM instance WHERE study_id = s.id AND state = 'quarantined'), '') AS reason
FROM study AS s
WHERE (s.quarantined > 0 OR s.conflicts + s.identity_conflict > s.conflicts_checked)
ORDER BY s.last_received_at DESC, s.id DESC LIMIT :limit

-- name: unknown_devices
SELECT id, calling_ae, address, last_seen, attempts FROM device WHERE decision IS NULL ORDER BY last_seen DESC LIMIT :limit

-- name: refused_stores
SELECT id, calling_ae, address, last_at, times, status, error_id FROM refused_store
WHERE dismissed_at IS NULL ORDER BY last_at DESC LIMIT :limit

-- name: series_of_study
SELECT modality, body_part, series_description, series_number, instances FROM series
WHERE study_id = :study_id ORDER BY CAST(series_number AS INTEGER), id LIMIT :limit

-- name: events_of_study
-- The latest, newest first.
SELECT at, kind, count, detail FROM event WHERE study_id = :study_id ORDER BY id DESC LIMIT :limit

-- name: quarantined_of_study
SELECT reason, count(*) AS count FROM instance
WHERE study_id = :study_id AND state = 'quarantined' GROUP BY reason ORDER BY count DESC LIMIT :limit

-- name: conflicts_of_study
SELECT sop_instance_uid, received_at, calling_ae, calling_address, bytes, lower(hex(digest)) AS digest, state FROM instance
WHERE study_id = :study_id AND conflict = 1 ORDER BY sop_instance_uid, id LIMIT :limit

-- name: devices
SELECT * FROM device ORDER BY decision IS NOT NULL, last_seen DESC LIMIT :limit

-- name: audit_events
-- The trail, newest first, after the place :before.
SELECT id, at, actor, role, address, action, study_id, detail FROM audit_event
WHERE id < :before ORDER BY id DESC LIMIT :limit

-- name: recent_view
SELECT 1 FROM audit_event
WHERE study_id = :study_id AND actor = :actor AND action = 'view_study' AND at > :after AND at <= :at LIMIT 1

-- name: study_priority
SELECT priority FROM study WHERE id = :study_id

-- name: set_priority
UPDATE study SET priority = :priority WHERE id = :study_id

-- name: stuck_instances
-- Quarantined, or packed into a parcel that will never be sent.
SELECT i.id FROM instance AS i LEFT JOIN parcel AS p ON p.id = i.parcel_id
WHERE i.study_id = :study_id
  AND (i.state = 'quarantined' OR (i.state = 'packed' AND coalesce(p.state, 'refused') = 'refused'))

-- name: delivered_instances
SELECT id FROM instance WHERE study_id = :study_id AND state = 'delivered'

-- name: forget_failures
-- Sent again, an instance starts anew; one that a worker died on stays plain.
UPDATE instance SET parcel_id = NULL, pack_failures = min(pack_failures, 1), refusals = 0, reason = ''
WHERE id IN (SELECT value FROM json_each(:ids))

-- name: supersede_parcels
-- Delivered parcels none of whose instances is still theirs no longer count in the study's progress.
UPDATE parcel SET superseded_at = :at
WHERE study_id = :study_id AND state = 'delivered' AND superseded_at IS NULL
  AND NOT EXISTS (SELECT 1 FROM instance WHERE instance.parcel_id = parcel.id)

-- name: check_conflicts
UPDATE study SET conflicts_checked = conflicts + identity_conflict WHERE id = :study_id

-- name: describe_device
UPDATE device SET name = :name, priority = :priority WHERE id = :device_id

-- name: device
SELECT calling_ae, address, name, settle_ms, priority FROM device WHERE id = :device_id

-- name: dismiss_refused
UPDATE refused_store SET dismissed_at = :at WHERE id = :refused_id AND dismissed_at IS NULL
