-- Modality performed procedure steps (PS3.4 F.7): what a modality says that it does, and which images it made.

-- receive
CREATE TABLE performed_step (
    id               INTEGER PRIMARY KEY,
    sop_instance_uid TEXT    NOT NULL UNIQUE,
    state            TEXT    NOT NULL CHECK (state IN ('IN PROGRESS', 'COMPLETED', 'DISCONTINUED')),
    calling_ae       TEXT    NOT NULL,
    address          TEXT    NOT NULL,
    created_at       INTEGER NOT NULL,
    changed_at       INTEGER NOT NULL,
    bytes            INTEGER NOT NULL -- of its messages
) STRICT;
CREATE INDEX performed_step_by_change ON performed_step (changed_at);

-- receive: the data sets as they came
CREATE TABLE performed_message (
    id                  INTEGER PRIMARY KEY,
    step_id             INTEGER NOT NULL REFERENCES performed_step (id) ON DELETE CASCADE,
    at                  INTEGER NOT NULL,
    operation           TEXT    NOT NULL CHECK (operation IN ('create', 'set')),
    transfer_syntax_uid TEXT    NOT NULL,
    data_set            BLOB    NOT NULL
) STRICT;
CREATE INDEX performed_message_of_step ON performed_message (step_id);

-- receive: a step may belong to several studies
CREATE TABLE performed_study (
    study_instance_uid TEXT    NOT NULL,
    step_id            INTEGER NOT NULL REFERENCES performed_step (id) ON DELETE CASCADE,
    PRIMARY KEY (study_instance_uid, step_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX performed_study_of_step ON performed_study (step_id);

-- receive: what its Performed Series Sequence names
CREATE TABLE performed_image (
    step_id          INTEGER NOT NULL REFERENCES performed_step (id) ON DELETE CASCADE,
    sop_instance_uid TEXT    NOT NULL,
    PRIMARY KEY (step_id, sop_instance_uid)
) STRICT, WITHOUT ROWID;

-- The modality said that all of a study is here: settle_ms is 1, and this is what it is again when one more image comes.
ALTER TABLE study ADD COLUMN usual_settle_ms INTEGER;
CREATE TRIGGER instance_unsettles AFTER INSERT ON instance BEGIN
    UPDATE study SET settle_ms = usual_settle_ms, usual_settle_ms = NULL
    WHERE id = NEW.study_id AND usual_settle_ms IS NOT NULL;
END;
