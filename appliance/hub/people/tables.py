"""The tables of this room. What is secret is kept as a hash: a password as argon2id, a random token as SHA-256."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKey, Index, String, Table

from appliance.hub.index.tables import Digest, RowId, metadata

Address: Final = String(64)

person = Table(
    "person",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("name", String(40), nullable=False),
    Column("name_key", String(160), nullable=False, unique=True),  # the name as it is compared: `names.name_key`
    Column("role", String(16), nullable=False),
    Column("password_hash", String(200), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("password_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
    CheckConstraint("role IN ('reader', 'staff', 'admin')", name="role"),
)

# Whose studies a person sees. `all` has an empty name.
person_scope = Table(
    "person_scope",
    metadata,
    Column("person_id", RowId, ForeignKey("person.id"), primary_key=True),
    Column("kind", String(16), primary_key=True),
    Column("name", String(64), primary_key=True),
    CheckConstraint("kind IN ('all', 'site', 'jurisdiction')", name="kind"),
)

session = Table(
    "session",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("token_digest", Digest, nullable=False, unique=True),
    Column("person_id", RowId, ForeignKey("person.id"), nullable=False),
    Column("browser_digest", Digest, nullable=False),  # a browser where this person has logged in is known again
    Column("address", Address, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Index(None, "person_id"),
    Index(None, "seen_at"),
)

# What a viewer shows instead of a password.
token = Table(
    "token",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("token_digest", Digest, nullable=False, unique=True),
    Column("person_id", RowId, ForeignKey("person.id"), nullable=False),
    Column("label", String(64), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("used_at", BigInteger),
    Column("ended_at", BigInteger),
    Index(None, "person_id"),
)

# Tries that did not end in a login. The name is kept as a digest: people type passwords into the wrong field.
login_failure = Table(
    "login_failure",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("name_digest", Digest, nullable=False),
    Column("address", Address, nullable=False),
    Column("browser_digest", Digest),  # only of a browser where the person of this name has logged in before
    Index(None, "at"),
    Index(None, "name_digest"),
    Index(None, "address"),
)
