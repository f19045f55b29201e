"""Rows of the unit's queue for tests: the real database, with values that mean nothing."""

from __future__ import annotations

import hashlib
import itertools
import sqlite3
from typing import Any

_numbers = itertools.count(1)


def insert(connection: sqlite3.Connection, table: str, **values: Any) -> int:
    """Inserts one row and returns its id."""
    names = ", ".join(values)
    marks = ", ".join(f":{name}" for name in values)
    return connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", values).lastrowid or 0


def add_study(connection: sqlite3.Connection, **values: Any) -> int:
    """A study without instances; `values` replaces what a test cares about."""
    texts = (
        "patient_name patient_id issuer_of_patient_id patient_birth_date patient_sex accession_number "
        "study_description study_date study_time referring_physician calling_ae"
    )
    row: dict[str, Any] = dict.fromkeys(texts.split(), "")
    row |= {"study_instance_uid": f"1.2.{next(_numbers)}", "priority": 2, "settle_ms": 1000}
    row |= {"first_received_at": 1_000, "last_received_at": 1_000}
    return insert(connection, "study", **(row | values))


def add_series(connection: sqlite3.Connection, study_id: int, **values: Any) -> int:
    """A series of that study."""
    row: dict[str, Any] = dict.fromkeys("modality body_part series_description series_number".split(), "")
    row |= {"study_id": study_id, "series_instance_uid": f"1.3.{next(_numbers)}"}
    return insert(connection, "series", **(row | values))


def add_instance(connection: sqlite3.Connection, study_id: int, series_id: int, **values: Any) -> int:
    """An instance, just received."""
    number = next(_numbers)
    row: dict[str, Any] = {
        "study_id": study_id,
        "series_id": series_id,
        "sop_class_uid": "1.2.840.10008.5.1.4.1.1.2",
        "sop_instance_uid": f"1.4.{number}",
        "transfer_syntax_uid": "1.2.840.10008.1.2.1",
        "instance_number": str(number),
        "frames": 1,
        "digest": hashlib.sha256(str(number).encode()).digest(),
        "bytes": 100 + number,
        "file": f"00/{number:032x}.dcm",
        "calling_ae": "CT1",
        "calling_address": "127.0.0.1",
        "received_at": 1_000,
    }
    return insert(connection, "instance", **(row | values))


def add_parcel(connection: sqlite3.Connection, study_id: int, **values: Any) -> int:
    """A parcel, just built."""
    number = next(_numbers)
    row: dict[str, Any] = {
        "study_id": study_id,
        "digest": hashlib.sha256(f"parcel {number}".encode()).digest(),
        "bytes": 1000,
        "data_bytes": 3000,
        "instances": 1,
        "file": f"{number:032x}.parcel",
        "built_at": 2_000,
    }
    return insert(connection, "parcel", **(row | values))


def add_process(connection: sqlite3.Connection, name: str, **values: Any) -> int:
    """What a process says of itself."""
    row = {"name": name, "pid": 1, "started_at": 1_000, "beat_at": 1_000, "status": "idle"}
    return insert(connection, "process", **(row | values))


def set_line(connection: sqlite3.Connection, **values: Any) -> None:
    """The line as measured."""
    row = {"id": 1, "up": 1, "since": 1_000, "rate": 48_000.0, "round_trip_ms": 700.0, "hub_seen_at": 1_000}
    insert(connection, "link", **(row | {"hub_name": "Hub", "clock_offset_ms": 0} | values))
