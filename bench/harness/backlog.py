"""A unit's database after a long outage: realistic studies, a third delivered, a third packed, a third just received.

It is built through the real schema with its triggers, in one transaction. The mix of studies is a district hospital's:
mostly radiographs, some ultrasound, few CT and MR, which hold nearly all the instances.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from appliance.store_forward.database import open_database, transaction

DAYS = 30
_DAY_MS = 86_400_000
_PARCEL_BYTES = 2 << 20
_NAMES = "Banda Phiri Mwale Chirwa Tembo Gondwe Kamanga Nyirenda Zulu Moyo Sakala Lungu".split()
_EXPLICIT = "1.2.840.10008.1.2.1"


@dataclass(frozen=True)
class Kind:
    """Studies of one modality: how many of each twenty, instances and bytes of an instance, packed ratio."""

    modality: str
    sop_class: str
    body_part: str
    of_twenty: int
    instances: int
    bytes: int
    ratio: float


KINDS = (
    Kind("DX", "1.2.840.10008.5.1.4.1.1.1.1", "CHEST", 12, 2, 14_000_000, 2.9),
    Kind("US", "1.2.840.10008.5.1.4.1.1.6.1", "ABDOMEN", 3, 30, 900_000, 10.0),
    Kind("CT", "1.2.840.10008.5.1.4.1.1.2", "HEAD", 3, 300, 532_000, 3.9),
    Kind("MR", "1.2.840.10008.5.1.4.1.1.4", "BRAIN", 1, 500, 150_000, 2.9),
    Kind("CT", "1.2.840.10008.5.1.4.1.1.2", "CHEST", 1, 1500, 532_000, 3.9),
)
_TWENTY = [kind for kind in KINDS for _ in range(kind.of_twenty)]


@dataclass(frozen=True)
class _Study:
    id: int
    kind: Kind
    instances: int
    first: int  # id of its first instance
    at: int  # Unix ms


def build(data: Path, instances: int, now: int) -> int:
    """Makes `data/appliance.db` with so many instances, the last of them received at `now`; returns the studies."""
    data.mkdir(parents=True, exist_ok=True)
    connection = open_database(data)
    connection.execute("PRAGMA synchronous = OFF")  # of this connection alone, while it is made
    connection.execute("PRAGMA cache_size = -400000")
    studies = list(_studies(instances, now))
    with transaction(connection):
        connection.executemany(_INSERT_STUDY, (_study_row(study) for study in studies))
        connection.executemany(_INSERT_SERIES, ((study.id, study.id, f"{_uid(study.id)}.1", study.kind.modality,
                                                 study.kind.body_part) for study in studies))  # fmt: skip
        connection.executemany(_INSERT_INSTANCE, _instance_rows(studies))
        _pack(connection, studies[: 2 * len(studies) // 3])
        _deliver(connection, studies[: len(studies) // 3], now)
        _trouble(connection, instances)
        connection.execute(_LINK, (now, now))
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return len(studies)


def _trouble(connection: sqlite3.Connection, instances: int) -> None:
    """One in five thousand instances needs a person: half are quarantined, half came twice with other bytes."""
    connection.execute(
        "UPDATE instance SET state = 'quarantined', reason = 'E403'"
        " WHERE id % 10000 = 17 AND state = 'received' AND id <= ?",
        (instances,),
    )
    connection.execute("UPDATE instance SET conflict = 1 WHERE id % 10000 = 5017 AND id <= ?", (instances,))


def _studies(instances: int, now: int) -> Iterator[_Study]:
    mean = sum(kind.of_twenty * kind.instances for kind in KINDS) / 20
    step = DAYS * _DAY_MS / max(1, instances / mean)
    number, first = 1, 1
    while first <= instances:
        kind = _TWENTY[number * 7 % 20]
        count = min(kind.instances, instances - first + 1)
        yield _Study(number, kind, count, first, int(now - max(0.0, DAYS * _DAY_MS - number * step)))
        number, first = number + 1, first + count


def _uid(number: int) -> str:
    return f"1.2.826.0.1.3680043.10.1234.{number}"


_INSERT_STUDY = """INSERT INTO study (id, study_instance_uid, patient_name, patient_id, issuer_of_patient_id,
    patient_birth_date, patient_sex, accession_number, study_description, study_date, study_time, referring_physician,
    priority, settle_ms, calling_ae, first_received_at, last_received_at)
    VALUES (?, ?, ?, ?, '', '19700101', 'O', ?, ?, '20261124', '101500', 'Dr^Mkandawire', ?, 120000, ?, ?, ?)"""
_INSERT_SERIES = """INSERT INTO series (id, study_id, series_instance_uid, modality, body_part, series_description,
    series_number) VALUES (?, ?, ?, ?, ?, 'Axial', '1')"""
_INSERT_INSTANCE = f"""INSERT INTO instance (id, study_id, series_id, sop_class_uid, sop_instance_uid,
    transfer_syntax_uid, instance_number, frames, digest, bytes, file, calling_ae, calling_address, received_at)
    VALUES (?, ?, ?, ?, ?, '{_EXPLICIT}', ?, 1, ?, ?, ?, ?, '192.168.1.20', ?)"""
_INSERT_PARCEL = """INSERT INTO parcel (id, study_id, digest, bytes, data_bytes, instances, file, built_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""
_LINK = """INSERT INTO link (id, up, since, rate, round_trip_ms, hub_seen_at, hub_name)
    VALUES (1, 1, ?, 44000, 715, ?, 'hub')"""


def _study_row(study: _Study) -> tuple[object, ...]:
    kind, number = study.kind, study.id
    priority = 0 if number % 97 == 0 else 1 if number % 20 == 0 else 3 if number % 11 == 0 else 2
    name = f"{_NAMES[number % 12]}^{_NAMES[number * 5 % 12]} {number}"
    texts = (f"P{number:07d}", f"A{number:08d}", f"{kind.modality} {kind.body_part.lower()}")
    return (number, _uid(number), name, *texts, priority, f"{kind.modality}1", study.at, study.at + 1000)


def _instance_rows(studies: list[_Study]) -> Iterator[tuple[object, ...]]:
    for study in studies:
        for index in range(study.instances):
            number = study.first + index
            digest = hashlib.sha256(number.to_bytes(8, "big")).digest()
            file = f"{digest[:1].hex()}/{digest[:16].hex()}.dcm"
            yield (
                *(number, study.id, study.id, study.kind.sop_class, f"{_uid(study.id)}.1.{index + 1}", str(index + 1)),
                *(digest, study.kind.bytes, file, f"{study.kind.modality}1", study.at),
            )


def _pack(connection: sqlite3.Connection, studies: list[_Study]) -> None:
    """Puts their instances into parcels of about 2 MiB, none of them sent yet."""
    parcels, members = [], []
    for study in studies:
        packed = int(study.kind.bytes / study.kind.ratio)
        each = max(1, -(-_PARCEL_BYTES // packed))
        for start in range(0, study.instances, each):
            count = min(each, study.instances - start)
            number = len(parcels) + 1
            digest = hashlib.sha256(b"parcel %d" % number).digest()
            name = f"{digest[:16].hex()}.parcel"
            parcels.append((number, study.id, digest, packed * count, study.kind.bytes * count, count, name, study.at))
            members.append((number, study.first + start, study.first + start + count - 1))
    connection.executemany(_INSERT_PARCEL, parcels)
    connection.executemany("UPDATE instance SET parcel_id = ?, state = 'packed' WHERE id BETWEEN ? AND ?", members)


def _deliver(connection: sqlite3.Connection, studies: list[_Study], now: int) -> None:
    """Their parcels and instances are at the hub."""
    ids = json.dumps([study.id for study in studies])
    connection.execute(
        "UPDATE parcel SET state = 'delivered', hub_offset = bytes, delivered_at = ?, file_gone_at = ?"
        " WHERE study_id IN (SELECT value FROM json_each(?))",
        (now, now, ids),
    )
    connection.execute(
        "UPDATE instance SET state = 'delivered', delivered_at = ?, hub_held_at = ?"
        " WHERE study_id IN (SELECT value FROM json_each(?))",
        (now, now, ids),
    )
    connection.execute("UPDATE study SET whole_at = ? WHERE id IN (SELECT value FROM json_each(?))", (now, ids))
