-- What the hub is told of studies, and what it wishes of them.

-- name: to_tell
-- The first study of which the hub was told nothing yet, or something that has changed since, but no sooner than
-- :pause ms after the last time.
SELECT study.id FROM study LEFT JOIN study_notice AS told ON told.study_id = study.id
WHERE study.delivered < study.instances AND (
    told.study_id IS NULL
    OR (abs(:now - told.told_at) >= :pause AND (told.instances, told.delivered, told.priority)
        <> (study.instances, study.delivered, study.priority))
)
ORDER BY study.priority, study.first_received_at, study.id LIMIT 1

-- name: to_tell_last
-- One that the hub has by now, and was not told so.
SELECT study.id FROM study_notice AS told INDEXED BY study_notice_open JOIN study ON study.id = told.study_id
WHERE told.delivered < told.instances AND study.delivered = study.instances AND abs(:now - told.told_at) >= :pause
LIMIT 1

-- name: to_tell_again
-- The one that was told longest ago, at least :pause ms, and is still on its way: its estimate may have changed.
SELECT study.id FROM study_notice AS told INDEXED BY study_notice_by_age JOIN study ON study.id = told.study_id
WHERE study.delivered < study.instances AND abs(:now - told.told_at) >= :pause
ORDER BY told.told_at LIMIT 1

-- name: study
SELECT * FROM study WHERE id = :id

-- name: series
SELECT * FROM series WHERE study_id = :id ORDER BY CAST(series_number AS INTEGER), id LIMIT :limit

-- name: told
INSERT INTO study_notice (study_id, told_at, instances, delivered, priority)
VALUES (:id, :now, :instances, :delivered, :priority)
ON CONFLICT (study_id) DO UPDATE SET told_at = excluded.told_at, instances = excluded.instances,
    delivered = excluded.delivered, priority = excluded.priority

-- name: known
SELECT number FROM wish_known WHERE id = 1

-- name: set_known
INSERT INTO wish_known (id, number) VALUES (1, :number) ON CONFLICT (id) DO UPDATE SET number = excluded.number

-- name: forget_wishes
-- Those that a new wish takes the place of.
DELETE FROM wish WHERE study_instance_uid = :study AND (:series = '' OR series = :series)

-- name: add_wish
INSERT INTO wish (study_instance_uid, series, kind, came_at) VALUES (:study, :series, :kind, :now)

-- name: keep_newest
-- A bound, whatever the hub wishes.
DELETE FROM wish WHERE id <= (SELECT max(id) FROM wish) - :most

-- name: wishes_of_study
SELECT wish.id, wish.series, wish.kind FROM wish JOIN study USING (study_instance_uid) WHERE study.id = :id

-- name: study_of_uid
SELECT id FROM study WHERE study_instance_uid = :study

-- name: series_of_study
SELECT id, series_instance_uid, series_number FROM series WHERE study_id = :id

-- name: parcels_of_study
-- Its parcels that are not wholly at the hub, each with the ids of its series (JSON array).
SELECT parcel.id, parcel.rank, parcel.held_at, json_group_array(DISTINCT instance.series_id) AS series
FROM parcel JOIN instance ON instance.parcel_id = parcel.id
WHERE parcel.study_id = :id AND parcel.state IN ('built', 'open')
GROUP BY parcel.id

-- name: set_standing
UPDATE parcel SET rank = :rank, held_at = :held_at WHERE id = :id
