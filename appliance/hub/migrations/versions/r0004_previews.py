"""Studies are seen before they are there: notices, previews out of parts of parcels, and wishes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Four tables, each with what it takes to find in it."""
    _notices()
    _previews()
    _wishes()


def _notices() -> None:
    op.create_table(
        "notice",
        sa.Column("site_id", sa.String(length=32), nullable=False),
        sa.Column("study_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("first_told_at", sa.BigInteger(), nullable=False),
        sa.Column("told_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"], name=op.f("fk_notice_site_id")),
        sa.PrimaryKeyConstraint("site_id", "study_instance_uid", name=op.f("pk_notice")),
    )
    op.create_index(op.f("ix_notice_study_instance_uid"), "notice", ["study_instance_uid"])
    op.create_index(op.f("ix_notice_told_at"), "notice", ["told_at"])


def _previews() -> None:
    op.create_table(
        "part",
        sa.Column("parcel_name", sa.String(length=32), nullable=False),
        sa.Column("after", sa.Integer(), nullable=False),
        sa.Column("wanted", sa.BigInteger(), nullable=False),
        sa.Column("drawn_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("parcel_name", name=op.f("pk_part")),
    )
    op.create_table(
        "preview",
        sa.Column("parcel_name", sa.String(length=32), nullable=False),
        sa.Column("block", sa.Integer(), nullable=False),
        sa.Column("site_id", sa.String(length=32), nullable=False),
        sa.Column("study_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("series_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("series_number", sa.String(length=256), nullable=False),
        sa.Column("sop_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("instance_number", sa.String(length=256), nullable=False),
        sa.Column("frame", sa.Integer(), nullable=False),
        sa.Column("bytes", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["parcel_name"], ["part.parcel_name"], name=op.f("fk_preview_parcel_name")),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"], name=op.f("fk_preview_site_id")),
        sa.PrimaryKeyConstraint("parcel_name", "block", name=op.f("pk_preview")),
    )
    op.create_index(op.f("ix_preview_study_instance_uid"), "preview", ["study_instance_uid"])


def _wishes() -> None:
    op.create_table(
        "wish",
        sa.Column("id", _ROW_ID, nullable=False),
        sa.Column("site_id", sa.String(length=32), nullable=False),
        sa.Column("study_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("series", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("wished_by", sa.String(length=200), nullable=False),
        sa.CheckConstraint("kind IN ('first', 'enough', 'all')", name=op.f("ck_wish_kind")),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"], name=op.f("fk_wish_site_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_wish")),
    )
    op.create_index(op.f("ix_wish_site_id_id"), "wish", ["site_id", "id"])
    op.create_index(op.f("ix_wish_study_instance_uid"), "wish", ["study_instance_uid"])
