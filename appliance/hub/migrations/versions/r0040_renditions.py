"""Instances in other transfer syntaxes, made once and kept; and keys of objects that are to be removed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0040"
down_revision = "0035"
branch_labels = None
depends_on = None

_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Two tables."""
    op.create_table(
        "rendition",
        sa.Column("instance_id", _ROW_ID, nullable=False),
        sa.Column("transfer_syntax_uid", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("stored_key", sa.String(length=128), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=True),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String(length=16), nullable=False),
        sa.Column("maker", sa.SmallInteger(), nullable=False),
        sa.Column("made_at", sa.BigInteger(), nullable=False),
        sa.Column("used_at", sa.BigInteger(), nullable=False),
        sa.Column("holder", sa.String(length=32), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("state IN ('making', 'kept', 'failed')", name=op.f("ck_rendition_state")),
        sa.ForeignKeyConstraint(["instance_id"], ["instance.id"], name=op.f("fk_rendition_instance_id")),
        sa.PrimaryKeyConstraint("instance_id", "transfer_syntax_uid", name=op.f("pk_rendition")),
        sa.UniqueConstraint("stored_key", name=op.f("uq_rendition_stored_key")),
    )
    op.create_index(op.f("ix_rendition_state_used_at"), "rendition", ["state", "used_at"])
    op.create_table(
        "rendition_spent",
        sa.Column("stored_key", sa.String(length=128), nullable=False),
        sa.PrimaryKeyConstraint("stored_key", name=op.f("pk_rendition_spent")),
    )
