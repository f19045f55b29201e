"""Uploads grow old by the hub's uptime. Those that are open have their whole term from now on."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A row for the uptime, which begins now, and for each parcel the uptime at its last byte."""
    table = op.create_table(
        "uptime",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("milliseconds", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_uptime_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_uptime")),
    )
    op.bulk_insert(table, [{"id": 1, "milliseconds": 0}])
    op.add_column("parcel", sa.Column("last_byte_up", sa.BigInteger(), server_default="0", nullable=False))
