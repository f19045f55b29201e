-- What `appliance status` and `appliance doctor` ask.

-- name: studies
-- One row: how many studies, and their instances by state, from the counters of the studies.
SELECT
    count(*) AS studies,
    coalesce(sum(delivered < instances), 0) AS undelivered,
    coalesce(sum(quarantined > 0 OR conflicts + identity_conflict > conflicts_checked), 0) AS in_need,
    coalesce(sum(received), 0) AS received,
    coalesce(sum(packed), 0) AS packed,
    coalesce(sum(delivered), 0) AS delivered,
    coalesce(sum(quarantined), 0) AS quarantined,
    coalesce(sum(conflicts), 0) AS conflicts,
    coalesce(sum(received_bytes), 0) AS unpacked_bytes,
    min(iif(delivered < instances, first_received_at, NULL)) AS oldest_undelivered_at
FROM study

-- name: parcels
-- One row: what is packed and not yet safe at the hub, and what waits for the hub's verdict.
SELECT
    coalesce(sum(iif(state = 'uploaded', 0, bytes - hub_offset)), 0) AS bytes_to_send,
    coalesce(sum(state = 'uploaded'), 0) AS unverified,
    count(*) AS parcels
FROM parcel WHERE state IN ('built', 'open', 'uploaded')

-- name: line
SELECT * FROM link WHERE id = 1

-- name: processes
SELECT name, pid, started_at, beat_at, status, problem FROM process ORDER BY name

-- name: people
-- One row: what waits for a decision of a person, and how many devices a person allowed.
SELECT
    (SELECT count(*) FROM device WHERE decision IS NULL) AS unknown_devices,
    (SELECT count(*) FROM device WHERE decision = 'allowed') AS allowed_devices,
    (SELECT count(*) FROM refused_store WHERE dismissed_at IS NULL) AS refused_stores

-- name: newest_files
-- The spool files of the newest instances that must still be there.
SELECT id, file, bytes FROM instance WHERE state <> 'removed' ORDER BY id DESC LIMIT 50
