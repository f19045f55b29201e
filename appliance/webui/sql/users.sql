-- Users of the page, their sessions, and failed logins.

-- name: add_user
INSERT INTO user (name, role, pin_hash, created_at) VALUES (:name, :role, :pin_hash, :now)

-- name: user_named
SELECT id, name, role, pin_hash, disabled_at FROM user WHERE name = :name COLLATE NOCASE

-- name: user_by_id
SELECT id, name, role, disabled_at FROM user WHERE id = :user_id

-- name: set_pin
UPDATE user SET pin_hash = :pin_hash WHERE id = :user_id

-- name: set_disabled
UPDATE user SET disabled_at = :disabled_at WHERE id = :user_id

-- name: users
-- Everybody, with the sessions that are open and when the last was used.
SELECT u.id, u.name, u.role, u.created_at, u.disabled_at,
       count(s.id) AS sessions, max(s.seen_at) AS seen_at
FROM user AS u LEFT JOIN session AS s ON s.user_id = u.id AND s.revoked_at IS NULL AND s.seen_at > :alive_after
GROUP BY u.id ORDER BY u.disabled_at IS NOT NULL, u.name LIMIT 500

-- name: engineers
SELECT count(*) AS count FROM user WHERE role = 'engineer' AND disabled_at IS NULL

-- name: anybody
SELECT EXISTS (SELECT 1 FROM user WHERE disabled_at IS NULL) AS found

-- name: start_session
INSERT INTO session (token_hash, user_id, address, created_at, seen_at)
VALUES (:token_hash, :user_id, :address, :now, :now)

-- name: find_session
SELECT s.id, s.seen_at, u.id AS user_id, u.name, u.role
FROM session AS s JOIN user AS u ON u.id = s.user_id
WHERE s.token_hash = :token_hash AND s.revoked_at IS NULL AND u.disabled_at IS NULL

-- name: touch_session
UPDATE session SET seen_at = :now WHERE id = :session_id

-- name: revoke_session
UPDATE session SET revoked_at = :now WHERE id = :session_id AND revoked_at IS NULL

-- name: revoke_sessions
UPDATE session SET revoked_at = :now WHERE user_id = :user_id AND revoked_at IS NULL

-- name: drop_old_sessions
-- Kept 30 days after their last use: an address where a person logged in lately is trusted more.
DELETE FROM session WHERE seen_at < :before

-- name: knows_address
SELECT EXISTS (SELECT 1 FROM session WHERE user_id = :user_id AND address = :address) AS found

-- name: failures_of_address
SELECT at FROM login_failure WHERE at > :after AND address = :address ORDER BY at DESC LIMIT 50

-- name: failures_of_name
SELECT at FROM login_failure WHERE at > :after AND name = :name COLLATE NOCASE ORDER BY at DESC LIMIT 50

-- name: record_failure
INSERT INTO login_failure (at, address, name) VALUES (:at, :address, :name)

-- name: forget_failures
DELETE FROM login_failure WHERE address = :address AND name = :name COLLATE NOCASE

-- name: drop_old_failures
DELETE FROM login_failure WHERE at < :before OR at > :now
