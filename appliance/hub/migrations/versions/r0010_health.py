"""Units tell the hub how they are."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A row for each site that told."""
    op.create_table(
        "health",
        sa.Column("site_id", sa.String(length=32), nullable=False),
        sa.Column("told_at", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"], name=op.f("fk_health_site_id_site")),
        sa.PrimaryKeyConstraint("site_id", name=op.f("pk_health")),
    )
