-- What a process waits for, beside what it does.

-- the id of an error (errors.py), or empty
ALTER TABLE process ADD COLUMN problem TEXT NOT NULL DEFAULT '';
