"""The first parcel of each site is found without a look at those of others."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Puts the site into the index by which the next parcel is found."""
    op.drop_index(op.f("ix_parcel_verdict_priority_completed_at"), "parcel")
    op.create_index(
        op.f("ix_parcel_verdict_site_id_priority_completed_at"),
        "parcel",
        ["verdict", "site_id", "priority", "completed_at"],
    )
