-- What `commitment` reads and writes.

-- name: same_transaction
SELECT id, told_at FROM commitment
WHERE calling_ae = :calling_ae AND transaction_uid = :transaction_uid ORDER BY id LIMIT 1

-- name: open
-- Requests of one AE that were not told yet, and their instances.
SELECT count(*) AS requests, coalesce(sum(items), 0) AS items FROM commitment
WHERE calling_ae = :calling_ae AND told_at IS NULL

-- name: add
INSERT INTO commitment (transaction_uid, calling_ae, address, level, items, asked_at, next_at)
VALUES (:transaction_uid, :calling_ae, :address, :level, :items, :now, :next_at)
RETURNING id

-- name: add_item
INSERT INTO commitment_item (commitment_id, number, sop_class_uid, sop_instance_uid, failure)
VALUES (:id, :number, :sop_class_uid, :sop_instance_uid, :failure)

-- name: items
SELECT number, sop_class_uid, sop_instance_uid, failure FROM commitment_item WHERE commitment_id = :id ORDER BY number

-- name: copies
-- Of each instance of a request, what this unit holds under its UID; one row with NULL when that is nothing.
SELECT item.number, item.sop_class_uid AS asked_class, instance.sop_class_uid, instance.state, instance.reason
FROM commitment_item AS item
LEFT JOIN instance ON instance.sop_instance_uid = item.sop_instance_uid
WHERE item.commitment_id = :id ORDER BY item.number

-- name: fail_item
UPDATE commitment_item SET failure = :failure WHERE commitment_id = :id AND number = :number

-- name: decided
UPDATE commitment SET decided_at = :now, next_at = :next_at WHERE id = :id

-- name: look_later
UPDATE commitment SET next_at = :next_at WHERE id = :id

-- name: to_decide
-- Requests to look at now. A time that is further off than any pause is one of a clock that jumped back.
SELECT id, level, asked_at, calling_ae FROM commitment INDEXED BY commitment_to_decide
WHERE decided_at IS NULL AND (next_at <= :now OR next_at > :now + :far) ORDER BY next_at LIMIT :limit

-- name: to_tell
-- Reports whose time has come, but those of :claimed (JSON array of ids), which are being sent, and those for devices of
-- :busy (JSON array of AE title, line feed, address).
SELECT id, transaction_uid, calling_ae, address, tries FROM commitment INDEXED BY commitment_to_tell
WHERE decided_at IS NOT NULL AND told_at IS NULL AND (next_at <= :now OR next_at > :now + :far)
    AND id NOT IN (SELECT value FROM json_each(:claimed))
    AND calling_ae || char(10) || address NOT IN (SELECT value FROM json_each(:busy))
ORDER BY next_at LIMIT :limit

-- name: to_tell_here
-- Reports for one device, which has an association open: whatever their time.
SELECT id, transaction_uid, calling_ae, address, tries FROM commitment INDEXED BY commitment_open
WHERE decided_at IS NOT NULL AND told_at IS NULL AND calling_ae = :calling_ae AND address = :address
    AND id NOT IN (SELECT value FROM json_each(:claimed))
ORDER BY id LIMIT :limit

-- name: told
UPDATE commitment SET told_at = :now WHERE id = :id

-- name: not_told
UPDATE commitment SET tries = tries + 1, next_at = :next_at WHERE id = :id AND told_at IS NULL

-- name: tell_now
-- The association on which it was asked is over.
UPDATE commitment SET next_at = min(next_at, :now)
WHERE calling_ae = :calling_ae AND address = :address AND decided_at IS NOT NULL AND told_at IS NULL AND tries = 0

-- name: forget
DELETE FROM commitment WHERE id IN (SELECT id FROM commitment WHERE told_at < :before ORDER BY told_at LIMIT :limit)
