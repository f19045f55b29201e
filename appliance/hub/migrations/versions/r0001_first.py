"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Makes every table; on SQLite the audit trail also refuses every change."""
    _sites_and_parcels()
    _studies()
    _instances()
    _facts()
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER audit_event_refuses_{verb.lower()} BEFORE {verb} ON audit_event "
                "BEGIN SELECT RAISE(ABORT, 'the audit trail is never changed'); END"
            )


def _sites_and_parcels() -> None:
    op.create_table(
        "site",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("secret_digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("renewed_at", sa.BigInteger(), nullable=True),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.Column("seen_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_site")),
    )
    op.create_table(
        "parcel",
        sa.Column("id", _ROW_ID, nullable=False),
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("site_id", sa.String(length=32), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=True),
        sa.Column("length", sa.BigInteger(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("metadata", sa.String(length=4096), nullable=False),
        sa.Column("verdict", sa.String(length=16), nullable=False),
        sa.Column("refusal", sa.String(length=16), nullable=True),
        sa.Column("reason", sa.String(length=300), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("last_byte_at", sa.BigInteger(), nullable=False),
        sa.Column("completed_at", sa.BigInteger(), nullable=True),
        sa.Column("decided_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("verdict IN ('partial', 'checking', 'verified', 'refused')", name=op.f("ck_parcel_verdict")),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"], name=op.f("fk_parcel_site_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_parcel")),
        sa.UniqueConstraint("name", name=op.f("uq_parcel_name")),
        sa.UniqueConstraint("site_id", "digest", name=op.f("uq_parcel_site_id_digest")),
    )
    op.create_index(op.f("ix_parcel_verdict_priority_completed_at"), "parcel", ["verdict", "priority", "completed_at"])


def _studies() -> None:
    op.create_table(
        "study",
        sa.Column("id", _ROW_ID, nullable=False),
        sa.Column("study_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("patient_name", sa.String(length=256), nullable=False),
        sa.Column("patient_id", sa.String(length=256), nullable=False),
        sa.Column("issuer_of_patient_id", sa.String(length=256), nullable=False),
        sa.Column("patient_birth_date", sa.String(length=256), nullable=False),
        sa.Column("patient_sex", sa.String(length=256), nullable=False),
        sa.Column("accession_number", sa.String(length=256), nullable=False),
        sa.Column("study_description", sa.String(length=256), nullable=False),
        sa.Column("study_date", sa.String(length=256), nullable=False),
        sa.Column("study_time", sa.String(length=256), nullable=False),
        sa.Column("referring_physician", sa.String(length=256), nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("first_held_at", sa.BigInteger(), nullable=False),
        sa.Column("last_held_at", sa.BigInteger(), nullable=False),
        sa.Column("series", sa.Integer(), nullable=False),
        sa.Column("instances", sa.Integer(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("conflicts", sa.Integer(), nullable=False),
        sa.Column("identity_conflict", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_study")),
        sa.UniqueConstraint("study_instance_uid", name=op.f("uq_study_study_instance_uid")),
    )
    op.create_index(op.f("ix_study_last_held_at_id"), "study", ["last_held_at", "id"])
    op.create_table(
        "series",
        sa.Column("id", _ROW_ID, nullable=False),
        sa.Column("study_id", _ROW_ID, nullable=False),
        sa.Column("series_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("modality", sa.String(length=256), nullable=False),
        sa.Column("body_part", sa.String(length=256), nullable=False),
        sa.Column("series_description", sa.String(length=256), nullable=False),
        sa.Column("series_number", sa.String(length=256), nullable=False),
        sa.Column("instances", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name=op.f("fk_series_study_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_series")),
        sa.UniqueConstraint("study_id", "series_instance_uid", name=op.f("uq_series_study_id_series_instance_uid")),
    )
    op.create_table(
        "study_site",
        sa.Column("study_id", _ROW_ID, nullable=False),
        sa.Column("site_id", sa.String(length=32), nullable=False),
        sa.Column("first_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"], name=op.f("fk_study_site_site_id")),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name=op.f("fk_study_site_study_id")),
        sa.PrimaryKeyConstraint("study_id", "site_id", name=op.f("pk_study_site")),
    )
    op.create_index(op.f("ix_study_site_site_id"), "study_site", ["site_id"])


def _instances() -> None:
    op.create_table(
        "instance",
        sa.Column("id", _ROW_ID, nullable=False),
        sa.Column("study_id", _ROW_ID, nullable=False),
        sa.Column("series_id", _ROW_ID, nullable=False),
        sa.Column("sop_class_uid", sa.String(length=64), nullable=False),
        sa.Column("sop_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("transfer_syntax_uid", sa.String(length=64), nullable=False),
        sa.Column("instance_number", sa.String(length=256), nullable=False),
        sa.Column("frames", sa.Integer(), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("form", sa.String(length=16), nullable=False),
        sa.Column("stored_key", sa.String(length=128), nullable=False),
        sa.Column("stored_digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("stored_bytes", sa.BigInteger(), nullable=False),
        sa.Column("recipe_key", sa.String(length=128), nullable=True),
        sa.Column("conflict", sa.Boolean(), nullable=False),
        sa.Column("calling_ae", sa.String(length=64), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("held_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("form IN ('as-received', 'jpeg2000')", name=op.f("ck_instance_form")),
        sa.ForeignKeyConstraint(["series_id"], ["series.id"], name=op.f("fk_instance_series_id")),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name=op.f("fk_instance_study_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_instance")),
        sa.UniqueConstraint("sop_instance_uid", "digest", name=op.f("uq_instance_sop_instance_uid_digest")),
        sa.UniqueConstraint("stored_key", name=op.f("uq_instance_stored_key")),
    )
    op.create_index(op.f("ix_instance_study_id_series_id_id"), "instance", ["study_id", "series_id", "id"])


def _facts() -> None:
    op.create_table(
        "audit_event",
        sa.Column("id", _ROW_ID, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("role", sa.String(length=32), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("study_id", _ROW_ID, nullable=True),
        sa.Column("detail", sa.String(length=500), nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name=op.f("fk_audit_event_study_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_event")),
    )
    op.create_index(op.f("ix_audit_event_study_id"), "audit_event", ["study_id"])
    op.create_table(
        "header_dictionary",
        sa.Column("site_id", sa.String(length=32), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("stored_key", sa.String(length=128), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("held_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"], name=op.f("fk_header_dictionary_site_id")),
        sa.PrimaryKeyConstraint("site_id", "digest", name=op.f("pk_header_dictionary")),
    )
    op.create_table(
        "receipt",
        sa.Column("parcel_id", _ROW_ID, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("instance_id", _ROW_ID, nullable=False),
        sa.ForeignKeyConstraint(["instance_id"], ["instance.id"], name=op.f("fk_receipt_instance_id")),
        sa.ForeignKeyConstraint(["parcel_id"], ["parcel.id"], name=op.f("fk_receipt_parcel_id")),
        sa.PrimaryKeyConstraint("parcel_id", "position", name=op.f("pk_receipt")),
    )
    op.create_index(op.f("ix_receipt_instance_id"), "receipt", ["instance_id"])
