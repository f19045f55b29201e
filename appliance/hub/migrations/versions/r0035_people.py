"""People log in, viewers show tokens, and sites carry jurisdictions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0035"
down_revision = "0020"
branch_labels = None
depends_on = None

_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Tables of people and what they are granted, of sessions, tokens and failed logins, and of jurisdictions."""
    _jurisdictions()
    _people()
    _sessions()
    _tokens()
    _failures()


def _digest(name: str, *, nullable: bool = False) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary(length=32), nullable=nullable)


def _times(*names: str, nullable: bool = False) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger(), nullable=nullable) for name in names]


def _row_of_person(table: str) -> tuple[sa.Column[int], sa.ForeignKeyConstraint]:
    return (
        sa.Column("person_id", _ROW_ID, nullable=False),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f(f"fk_{table}_person_id")),
    )


def _indexes(table: str, *columns: str) -> None:
    for column in columns:
        op.create_index(op.f(f"ix_{table}_{column}"), table, [column], unique=False)


def _jurisdictions() -> None:
    op.create_table(
        "site_jurisdiction",
        sa.Column("site_id", sa.String(length=32), nullable=False),
        sa.Column("jurisdiction", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"], name=op.f("fk_site_jurisdiction_site_id")),
        sa.PrimaryKeyConstraint("site_id", "jurisdiction", name=op.f("pk_site_jurisdiction")),
    )


def _people() -> None:
    op.create_table(
        "person",
        sa.Column("id", _ROW_ID, nullable=False),
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("name_key", sa.String(length=160), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("password_hash", sa.String(length=200), nullable=False),
        *_times("created_at", "password_at"),
        *_times("revoked_at", nullable=True),
        sa.CheckConstraint("role IN ('reader', 'staff', 'admin')", name=op.f("ck_person_role")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_person")),
        sa.UniqueConstraint("name_key", name=op.f("uq_person_name_key")),
    )
    op.create_table(
        "person_scope",
        *_row_of_person("person_scope"),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.CheckConstraint("kind IN ('all', 'site', 'jurisdiction')", name=op.f("ck_person_scope_kind")),
        sa.PrimaryKeyConstraint("person_id", "kind", "name", name=op.f("pk_person_scope")),
    )


def _sessions() -> None:
    op.create_table(
        "session",
        sa.Column("id", _ROW_ID, nullable=False),
        _digest("token_digest"),
        *_row_of_person("session"),
        _digest("browser_digest"),
        sa.Column("address", sa.String(length=64), nullable=False),
        *_times("created_at", "seen_at"),
        *_times("ended_at", nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_session")),
        sa.UniqueConstraint("token_digest", name=op.f("uq_session_token_digest")),
    )
    _indexes("session", "person_id", "seen_at")


def _tokens() -> None:
    op.create_table(
        "token",
        sa.Column("id", _ROW_ID, nullable=False),
        _digest("token_digest"),
        *_row_of_person("token"),
        sa.Column("label", sa.String(length=64), nullable=False),
        *_times("created_at", "expires_at"),
        *_times("used_at", "ended_at", nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_token")),
        sa.UniqueConstraint("token_digest", name=op.f("uq_token_token_digest")),
    )
    _indexes("token", "person_id")


def _failures() -> None:
    op.create_table(
        "login_failure",
        sa.Column("id", _ROW_ID, nullable=False),
        *_times("at"),
        _digest("name_digest"),
        sa.Column("address", sa.String(length=64), nullable=False),
        _digest("browser_digest", nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_login_failure")),
    )
    _indexes("login_failure", "at", "name_digest", "address")
