"""The tables of the hub's index. Rows say what happened and when (Unix milliseconds, UTC).

Portable types only: SQLite today, PostgreSQL by URL. `migrations/` makes them; a test compares the two.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    true,
)

NAMING: Final = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
metadata = MetaData(naming_convention=NAMING)

# SQLite numbers rows by itself only in a column that is INTEGER.
RowId: Final = BigInteger().with_variant(Integer(), "sqlite")
Text256: Final = String(256)
Digest: Final = LargeBinary(32)  # SHA-256

site = Table(
    "site",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("secret_digest", Digest, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("renewed_at", BigInteger),
    Column("revoked_at", BigInteger),
    Column("seen_at", BigInteger),
)

# Names that stand for several sites: a district, an authority.
site_jurisdiction = Table(
    "site_jurisdiction",
    metadata,
    Column("site_id", String(32), ForeignKey("site.id"), primary_key=True),
    Column("jurisdiction", String(32), primary_key=True),
)

# One row for each parcel of a site, from its first byte to its verdict.
parcel = Table(
    "parcel",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("name", String(32), nullable=False, unique=True),  # ours: in the upload's URL, and the name of its file
    Column("site_id", String(32), ForeignKey("site.id"), nullable=False),
    Column("digest", Digest),  # as the client states it, or as computed at the end when it states none
    Column("length", BigInteger, nullable=False),
    Column("offset", BigInteger, nullable=False),  # bytes that are fsynced
    Column("priority", SmallInteger, nullable=False),
    Column("metadata", String(4096), nullable=False),
    Column("verdict", String(16), nullable=False),
    Column("refusal", String(16)),
    Column("reason", String(300), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("last_byte_at", BigInteger, nullable=False),
    Column("last_byte_up", BigInteger, nullable=False, server_default="0"),  # the hub's uptime then: see `uptime`
    Column("completed_at", BigInteger),
    Column("decided_at", BigInteger),
    UniqueConstraint("site_id", "digest"),
    CheckConstraint("verdict IN ('partial', 'checking', 'verified', 'refused')", name="verdict"),
    Index(None, "verdict", "site_id", "priority", "completed_at"),
)

# For how long the hub has been up, over all its starts. One row.
uptime = Table(
    "uptime",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("milliseconds", BigInteger, nullable=False),
    CheckConstraint("id = 1", name="one_row"),
)

study = Table(
    "study",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("study_instance_uid", String(64), nullable=False, unique=True),
    Column("patient_name", Text256, nullable=False),
    Column("patient_id", Text256, nullable=False),
    Column("issuer_of_patient_id", Text256, nullable=False),
    Column("patient_birth_date", Text256, nullable=False),
    Column("patient_sex", Text256, nullable=False),
    Column("accession_number", Text256, nullable=False),
    Column("study_description", Text256, nullable=False),
    Column("study_date", Text256, nullable=False),
    Column("study_time", Text256, nullable=False),
    Column("referring_physician", Text256, nullable=False),
    Column("priority", SmallInteger, nullable=False),
    Column("first_held_at", BigInteger, nullable=False),
    Column("last_held_at", BigInteger, nullable=False),
    Column("series", Integer, nullable=False),
    Column("instances", Integer, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("conflicts", Integer, nullable=False),  # instances that share a UID with other bytes
    Column("identity_conflict", Boolean, nullable=False),  # instances came under this UID for another patient
    Index(None, "last_held_at", "id"),
)

# Which sites delivered instances of a study.
study_site = Table(
    "study_site",
    metadata,
    Column("study_id", RowId, ForeignKey("study.id"), primary_key=True),
    Column("site_id", String(32), ForeignKey("site.id"), primary_key=True),
    Column("first_at", BigInteger, nullable=False),
    # People of the site see the study. One that sends later under a UID that another sent first does not, until
    # somebody at the hub says so: else a UID that was guessed would open a study.
    Column("sees", Boolean, nullable=False, server_default=true()),
    Index(None, "site_id"),
)

series = Table(
    "series",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("study_id", RowId, ForeignKey("study.id"), nullable=False),
    Column("series_instance_uid", String(64), nullable=False),
    Column("modality", Text256, nullable=False),
    Column("body_part", Text256, nullable=False),
    Column("series_description", Text256, nullable=False),
    Column("series_number", Text256, nullable=False),
    Column("instances", Integer, nullable=False),
    UniqueConstraint("study_id", "series_instance_uid"),
)

instance = Table(
    "instance",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("study_id", RowId, ForeignKey("study.id"), nullable=False),
    Column("series_id", RowId, ForeignKey("series.id"), nullable=False),
    Column("sop_class_uid", String(64), nullable=False),
    Column("sop_instance_uid", String(64), nullable=False),
    Column("transfer_syntax_uid", String(64), nullable=False),  # as the modality sent it
    Column("instance_number", Text256, nullable=False),
    Column("frames", Integer, nullable=False),
    Column("digest", Digest, nullable=False),  # of the data set bytes as the modality sent them
    Column("bytes", BigInteger, nullable=False),
    Column("form", String(16), nullable=False),
    Column("stored_key", String(128), nullable=False, unique=True),  # in the store: a Part 10 file
    Column("stored_digest", Digest, nullable=False),
    Column("stored_bytes", BigInteger, nullable=False),
    Column("recipe_key", String(128)),  # in the store: how to get the exact bytes back; only of `jpeg2000`
    Column("conflict", Boolean, nullable=False),  # other bytes came under the same SOP Instance UID; both are kept
    Column("calling_ae", String(64), nullable=False),  # of the modality, as the unit says
    Column("received_at", BigInteger, nullable=False),  # at the unit, by the unit's clock
    Column("held_at", BigInteger, nullable=False),
    UniqueConstraint("sop_instance_uid", "digest"),
    CheckConstraint("form IN ('as-received', 'jpeg2000')", name="form"),
    Index(None, "study_id", "series_id", "id"),
)

# What each verified parcel brought; with `parcel.site_id` it says whom an instance's receipt may be given to.
receipt = Table(
    "receipt",
    metadata,
    Column("parcel_id", RowId, ForeignKey("parcel.id"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("instance_id", RowId, ForeignKey("instance.id"), nullable=False),
    Index(None, "instance_id"),
)

# Headers that a site may name as a zstd dictionary; the bytes are in the store.
header_dictionary = Table(
    "header_dictionary",
    metadata,
    Column("site_id", String(32), ForeignKey("site.id"), primary_key=True),
    Column("digest", Digest, primary_key=True),
    Column("stored_key", String(128), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("held_at", BigInteger, nullable=False),
)

# What each site told of its studies that are on their way: JSON of a `model.notice.StudyNotice`, the newest of each.
notice = Table(
    "notice",
    metadata,
    Column("site_id", String(32), ForeignKey("site.id"), primary_key=True),
    Column("study_instance_uid", String(64), primary_key=True),
    Column("content", Text, nullable=False),
    Column("first_told_at", BigInteger, nullable=False),
    Column("told_at", BigInteger, nullable=False),
    Index(None, "study_instance_uid"),
    Index(None, "told_at"),
)

# How far the previews of a parcel that is still coming are drawn. The parcel's own row may be gone before this one.
part = Table(
    "part",
    metadata,
    Column("parcel_name", String(32), primary_key=True),
    Column("after", Integer, nullable=False),  # blocks with a lower number are done
    Column("wanted", BigInteger, nullable=False),  # with so many bytes of the parcel it is worth a look
    Column("drawn_at", BigInteger, nullable=False),
)

# Small images out of the parts, each a PNG in `previews/`. What they say of themselves is not proved.
preview = Table(
    "preview",
    metadata,
    Column("parcel_name", String(32), ForeignKey("part.parcel_name"), primary_key=True),
    Column("block", Integer, primary_key=True, autoincrement=False),
    Column("site_id", String(32), ForeignKey("site.id"), nullable=False),
    Column("study_instance_uid", String(64), nullable=False),
    Column("series_instance_uid", String(64), nullable=False),
    Column("series_number", Text256, nullable=False),
    Column("sop_instance_uid", String(64), nullable=False),
    Column("instance_number", Text256, nullable=False),
    Column("frame", Integer, nullable=False),
    Column("bytes", Integer, nullable=False),
    Index(None, "study_instance_uid"),
)

# What the hub wished of a site; its unit asks for those after the last one it knows.
wish = Table(
    "wish",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("site_id", String(32), ForeignKey("site.id"), nullable=False),
    Column("study_instance_uid", String(64), nullable=False),
    Column("series", String(64), nullable=False),  # a Series Instance UID or a series number; empty: the whole study
    Column("kind", String(16), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("wished_by", String(200), nullable=False),
    CheckConstraint("kind IN ('first', 'enough', 'all')", name="kind"),
    Index(None, "site_id", "id"),
    Index(None, "study_instance_uid"),
)

# How each site's unit said that it is (JSON).
health = Table(
    "health",
    metadata,
    Column("site_id", String(32), ForeignKey("site.id"), primary_key=True),
    Column("told_at", BigInteger, nullable=False),
    Column("content", Text, nullable=False),
)

audit_event = Table(
    "audit_event",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("actor", String(200), nullable=False),
    Column("role", String(32), nullable=False),
    Column("address", String(64), nullable=False),
    Column("action", String(64), nullable=False),
    Column("study_id", RowId, ForeignKey("study.id")),
    Column("detail", String(500), nullable=False),
    Index(None, "study_id"),
)
