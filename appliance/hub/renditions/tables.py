"""The tables of this room."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKey, Index, SmallInteger, String, Table

from appliance.hub.index.tables import Digest, RowId, metadata

Key: Final = String(128)

# An instance in another transfer syntax: being made, kept, or found not to be possible.
rendition = Table(
    "rendition",
    metadata,
    Column("instance_id", RowId, ForeignKey("instance.id"), primary_key=True),
    Column("transfer_syntax_uid", String(64), primary_key=True),
    Column("state", String(16), nullable=False),
    Column("stored_key", Key, nullable=False, unique=True),  # one for each try, so it names the lease, too
    Column("digest", Digest),
    Column("bytes", BigInteger, nullable=False),
    Column("reason", String(16), nullable=False),  # why it failed
    Column("maker", SmallInteger, nullable=False),  # which version of what makes renditions
    Column("made_at", BigInteger, nullable=False),
    Column("used_at", BigInteger, nullable=False),
    Column("holder", String(32), nullable=False),  # the process that makes it
    Column("until", BigInteger, nullable=False),
    CheckConstraint("state IN ('making', 'kept', 'failed')", name="state"),
    Index(None, "state", "used_at"),
)

# Keys that no row names any more. Their objects are to be removed; that may be done twice.
rendition_spent = Table("rendition_spent", metadata, Column("stored_key", Key, primary_key=True))
