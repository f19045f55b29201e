"""Tables of attributes: what studies are found by, and what is answered of them. Written by `attributes` alone.

Keys are normal forms (`forms`), empty where there is no value. A content is DICOM JSON (PS3.18 annex F).
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    SmallInteger,
    String,
    Table,
    Text,
)

from appliance.hub.index.tables import RowId, Text256, metadata

LIST_LENGTH: Final = 1024

# A patient is an identifier in a domain: an issuer, else the site that sent a study first, else the study alone.
patient = Table(
    "patient",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("domain", String(300), nullable=False),
    Column("patient_id", Text256, nullable=False),
    Column("issuer_of_patient_id", Text256, nullable=False),
    Column("name_alphabetic", Text256, nullable=False),
    Column("name_ideographic", Text256, nullable=False),
    Column("name_phonetic", Text256, nullable=False),
    Column("birth_date", String(8), nullable=False),
    Column("sex", Text256, nullable=False),
    Column("content", Text, nullable=False),
    Index(None, "domain", "patient_id", unique=True),
    Index(None, "patient_id"),
    Index(None, "name_alphabetic"),
)

# Narrow, so that all of it can be scanned: 100,000 studies are some 25 MB.
study_key = Table(
    "study_key",
    metadata,
    Column("study_id", RowId, ForeignKey("study.id"), primary_key=True, autoincrement=False),
    Column("patient_row", RowId, ForeignKey("patient.id"), nullable=False),
    Column("study_instance_uid", String(64), nullable=False),
    Column("study_date", String(8), nullable=False),
    Column("study_time", String(12), nullable=False),
    Column("patient_id", Text256, nullable=False),
    Column("issuer_of_patient_id", Text256, nullable=False),
    Column("name_alphabetic", Text256, nullable=False),
    Column("name_ideographic", Text256, nullable=False),
    Column("name_phonetic", Text256, nullable=False),
    Column("birth_date", String(8), nullable=False),
    Column("sex", Text256, nullable=False),
    Column("accession_number", Text256, nullable=False),
    Column("study_identifier", Text256, nullable=False),  # Study ID (0020,0010)
    Column("referring_alphabetic", Text256, nullable=False),
    Column("referring_ideographic", Text256, nullable=False),
    Column("referring_phonetic", Text256, nullable=False),
    Column("description", Text256, nullable=False),
    Column("modalities", String(LIST_LENGTH), nullable=False),
    Column("sop_classes", String(LIST_LENGTH), nullable=False),
    Column("body_parts", String(LIST_LENGTH), nullable=False),
    Index(None, "study_date", "study_time", "study_id"),
    Index(None, "study_instance_uid", unique=True),
    Index(None, "patient_row"),
    Index(None, "patient_id"),
    Index(None, "name_alphabetic"),
    Index(None, "accession_number"),
)

study_content = Table(
    "study_content",
    metadata,
    Column("study_id", RowId, ForeignKey("study.id"), primary_key=True, autoincrement=False),
    Column("content", Text, nullable=False),
)

series_key = Table(
    "series_key",
    metadata,
    Column("series_id", RowId, ForeignKey("series.id"), primary_key=True, autoincrement=False),
    Column("study_id", RowId, ForeignKey("study.id"), nullable=False),
    Column("series_instance_uid", String(64), nullable=False),
    Column("modality", Text256, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("body_part", Text256, nullable=False),
    Column("description", Text256, nullable=False),
    Column("series_date", String(8), nullable=False),
    Column("series_time", String(12), nullable=False),
    Column("step_date", String(8), nullable=False),  # Performed Procedure Step Start Date
    Column("step_time", String(12), nullable=False),
    Column("protocol", Text256, nullable=False),
    Column("station", Text256, nullable=False),
    Column("institution", Text256, nullable=False),
    Column("content", Text, nullable=False),
    Index(None, "study_id", "number", "series_id"),
    Index(None, "series_instance_uid"),
)

# Items of Request Attributes Sequence (0040,0275).
series_request = Table(
    "series_request",
    metadata,
    Column("series_id", RowId, ForeignKey("series.id"), primary_key=True, autoincrement=False),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("scheduled_step", Text256, nullable=False),
    Column("requested_procedure", Text256, nullable=False),
    Column("accession_number", Text256, nullable=False),
    Index(None, "scheduled_step"),
    Index(None, "requested_procedure"),
)

instance_content = Table(
    "instance_content",
    metadata,
    Column("instance_id", RowId, ForeignKey("instance.id"), primary_key=True, autoincrement=False),
    Column("number", BigInteger, nullable=False),
    Column("content", Text, nullable=False),
)

# How far the rows of instances from before these tables are filled. One row; done when `study_id` is 0.
attribute_backfill = Table(
    "attribute_backfill",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("study_id", BigInteger, nullable=False),  # the study in hand; the next has a lower row
    Column("instance_id", BigInteger, nullable=False),  # of this study, the last one that is done
    CheckConstraint("id = 1", name="one_row"),
)
