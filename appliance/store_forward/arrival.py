"""The rows that an arriving instance makes: study, series, instance, and what must be flagged."""

from __future__ import annotations

import sqlite3
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import msgspec

from appliance.errors import DamagedFileError
from appliance.model.identity import InstanceIdentity
from appliance.model.states import InstanceEvent, InstanceState
from appliance.named_sql import NamedSql
from appliance.store_forward import mpps_book
from appliance.store_forward.queue import move_instances, record_event
from appliance.store_forward.spool import Sealed, Spool

_SQL: Final = NamedSql("appliance.store_forward.sql", "receive.sql")
_REMEMBERED: Final = 1000  # studies and series whose ids are kept in memory


@dataclass(frozen=True, slots=True)
class Arrival:
    """One instance that is safe in `incoming/` and has no row yet. `at` in Unix ms."""

    sealed: Sealed
    identity: InstanceIdentity
    transfer_syntax_uid: str
    calling_ae: str
    calling_address: str
    at: int
    settle_ms: int
    priority: int


class Outcome(StrEnum):
    STORED = "stored"
    DUPLICATE = "duplicate"  # the same bytes are here already: success, and still one copy
    REPLACED = "replaced"  # the same bytes were here, and lost or damaged: this copy took their place


@dataclass(frozen=True, slots=True)
class Entry:
    """What became of one arrival. `unneeded`: a file below `spool/` that no row names after the commit."""

    outcome: Outcome
    study_id: int
    unneeded: str | None = None


class Register:
    """Writes arrivals into the queue. Call `add` inside a transaction; call `forget` when that was rolled back."""

    def __init__(self, connection: sqlite3.Connection, spool: Spool) -> None:
        self._connection, self._spool = connection, spool
        self._studies: dict[str, tuple[int, str]] = {}  # UID → id, patient id
        self._series: dict[tuple[int, str], int] = {}
        self._touched: dict[int, int] = {}
        self._came: dict[int, list[str]] = {}  # SOP Instance UIDs, by study

    def last_id(self) -> int:
        """The id of the newest instance; 0 when there is none."""
        return int(self._connection.execute(_SQL["last_instance"]).fetchone()[0])

    def add(self, arrival: Arrival, file: str) -> Entry:
        """Files one arrival whose bytes lie in `file`, and says what became of it."""
        same = self._connection.execute(
            _SQL["same_uid"], {"sop_instance_uid": arrival.identity.sop_instance_uid}
        ).fetchall()
        for row in same:
            if row["digest"] == arrival.sealed.digest:
                return self._again(row, file)
        study_id = self._study(arrival)
        self._insert(arrival, file, study_id, conflict=bool(same))
        for row in same:
            self._connection.execute(_SQL["mark_conflict"], {"id": row["id"]})
        for conflicting in {row["study_id"] for row in same} | ({study_id} if same else set()):
            record_event(self._connection, conflicting, arrival.at, "conflict", 1)
        return Entry(Outcome.STORED, study_id)

    def finish(self) -> None:
        """Writes what is written once for many arrivals. Call it before the commit."""
        for study_id, at in self._touched.items():
            self._connection.execute(_SQL["touch_study"], {"id": study_id, "at": at})
        for study_id, uids in self._came.items():
            mpps_book.came(self._connection, study_id, uids, self._touched[study_id])
        self._touched.clear()
        self._came.clear()
        if len(self._studies) > _REMEMBERED or len(self._series) > _REMEMBERED:
            self.forget()

    def forget(self) -> None:
        """Drops what is remembered: ids of rows that were rolled back must not be used."""
        self._studies.clear()
        self._series.clear()
        self._touched.clear()
        self._came.clear()

    def _again(self, row: sqlite3.Row, file: str) -> Entry:
        """The same bytes came before. They heal a copy that is lost or damaged; else they are not needed."""
        gone = not self._spool.path(row["file"]).exists()
        damaged = row["state"] == InstanceState.QUARANTINED and (gone or row["reason"] == DamagedFileError.id)
        needed = row["state"] in {InstanceState.RECEIVED, InstanceState.PACKED}
        if not (damaged or (needed and gone)):
            return Entry(Outcome.DUPLICATE, row["study_id"], file)
        self._connection.execute(_SQL["replace_file"], {"id": row["id"], "file": file})
        if damaged:
            move_instances(self._connection, [row["id"]], InstanceEvent.SEND_AGAIN)
        return Entry(Outcome.REPLACED, row["study_id"], row["file"])

    def _study(self, arrival: Arrival) -> int:
        """The id of its study, which is made when it is the first."""
        identity = arrival.identity
        known = self._studies.get(identity.study_instance_uid) or self._find_study(identity.study_instance_uid)
        if known is None:
            known = (self._add_study(arrival), identity.patient_id)
        self._studies[identity.study_instance_uid] = known
        study_id, patient_id = known
        self._touched[study_id] = max(self._touched.get(study_id, 0), arrival.at)
        if identity.patient_id and patient_id and identity.patient_id != patient_id:
            self._flag_identity(study_id, arrival.at)
        return study_id

    def _find_study(self, uid: str) -> tuple[int, str] | None:
        row = self._connection.execute(_SQL["find_study"], {"study_instance_uid": uid}).fetchone()
        return (row["id"], row["patient_id"]) if row else None

    def _add_study(self, arrival: Arrival) -> int:
        values = _values(arrival)
        study_id = int(self._connection.execute(_SQL["add_study"], values).fetchone()[0])
        record_event(self._connection, study_id, arrival.at, "received_first", 1)
        return study_id

    def _flag_identity(self, study_id: int, at: int) -> None:
        if self._connection.execute(_SQL["mark_identity_conflict"], {"id": study_id}).rowcount:
            record_event(self._connection, study_id, at, "identity_conflict", 1)

    def _series_id(self, arrival: Arrival, study_id: int) -> int:
        key = (study_id, arrival.identity.series_instance_uid)
        if key not in self._series:
            values = _values(arrival) | {"study_id": study_id}
            row = self._connection.execute(_SQL["find_series"], values).fetchone()
            row = row or self._connection.execute(_SQL["add_series"], values).fetchone()
            self._series[key] = int(row[0])
        return self._series[key]

    def _insert(self, arrival: Arrival, file: str, study_id: int, *, conflict: bool) -> None:
        values = _values(arrival) | {
            "study_id": study_id,
            "series_id": self._series_id(arrival, study_id),
            "file": file,
            "conflict": int(conflict),
        }
        self._connection.execute(_SQL["add_instance"], values)
        self._came.setdefault(study_id, []).append(arrival.identity.sop_instance_uid)


def _values(arrival: Arrival) -> dict[str, Any]:
    return msgspec.structs.asdict(arrival.identity) | {
        "transfer_syntax_uid": arrival.transfer_syntax_uid,
        "digest": arrival.sealed.digest,
        "bytes": arrival.sealed.size,
        "calling_ae": arrival.calling_ae,
        "calling_address": arrival.calling_address,
        "priority": arrival.priority,
        "settle_ms": arrival.settle_ms,
        "at": arrival.at,
    }


def record_received(connection: sqlite3.Connection, counts: Counter[int], at: int) -> None:
    """One line in each study's timeline for what an association brought; `counts` by study id."""
    for study_id, count in counts.items():
        if count:
            record_event(connection, study_id, at, "received", count)
