"""The queue as `appliance courier` sees it: what could be carried, and what became of what was carried.

It takes the hub's receipts with the same checks as `forward` does over the line: `verdicts.settle` decides, the
outbox makes it durable.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

import msgspec

from appliance.audit.trail import record
from appliance.config import UnitConfig
from appliance.courier.listing import StudyFacts
from appliance.courier.plan import Item
from appliance.errors import NotFoundError
from appliance.model.priority import Priority
from appliance.model.receipt import ParcelVerdict, Refusal, Verdict
from appliance.named_sql import NamedSql
from appliance.store_forward.database import open_database, transaction
from appliance.store_forward.outbox import Outbox, Parcel, parcel_of
from appliance.store_forward.verdicts import Step, settle

_SQL = NamedSql("appliance.store_forward.sql", "courier.sql")
_SETTLED: Final = ("delivered", "refused")


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What could be carried now, most urgent first, and what is not packed yet."""

    items: tuple[Item, ...]
    studies: tuple[StudyFacts, ...]
    unpacked_instances: int
    unpacked_bytes: int


class Taken(msgspec.Struct, kw_only=True):
    """What receipts from a stick came to. Counts are of parcels but the last."""

    delivered: int = 0
    refused: int = 0  # they are packed anew, or sent again
    known: int = 0  # nothing new: settled before
    unknown: int = 0  # of another unit of this site
    instances: int = 0  # that are delivered by it


class CourierQueue:
    """Opens the unit's database. Raises DatabaseError."""

    def __init__(self, config: UnitConfig) -> None:
        self._db = open_database(config.data)
        self._config, self._data = config, config.data

    def close(self) -> None:
        """Closes the database."""
        self._db.close()

    def load(self, study: str | None, priorities: Collection[Priority]) -> Load:
        """What waits, of one study or all, of these priorities. Raises NotFoundError for a study that is not here."""
        if study is not None and self._db.execute(_SQL["has_study"], {"study": study}).fetchone() is None:
            raise NotFoundError("There is no such study here")
        values = {"study": study, "priorities": json.dumps([int(priority) for priority in priorities])}
        rows = self._db.execute(_SQL["waiting"], values).fetchall()
        unpacked = self._db.execute(_SQL["unpacked"], values).fetchone()
        return Load(
            items=tuple(self._item(row) for row in rows),
            studies=_studies(rows),
            unpacked_instances=unpacked["instances"],
            unpacked_bytes=unpacked["bytes"],
        )

    def _item(self, row: sqlite3.Row) -> Item:
        return Item(
            parcel=row["digest"].hex(),
            bytes=row["bytes"],
            path=self._data / "parcels" / row["file"],
            study=row["study_instance_uid"],
            priority=Priority(row["priority"]),
        )

    def spent(self, parcels: Collection[str]) -> set[str]:
        """Those of the given digests that the hub has, or could not use."""
        return {p for p in parcels if self._db.execute(_SQL["settled"], {"digest": bytes.fromhex(p)}).fetchone()}

    def hub_key(self) -> str:
        """The public key that the hub said last, over the line; empty: it never did."""
        return said_key(self._db)

    def note_export(self, actor: str, parcels: int, size: int, detail: str, now: int) -> None:
        """A stick was written: on it are so many parcels and bytes."""
        with transaction(self._db):
            self._db.execute(_SQL["exported"], {"now": now, "parcels": parcels, "bytes": size})
            record(self._db, at=now, actor=actor, role="shell", action="courier_export", detail=detail)

    def take(self, verdicts: Sequence[ParcelVerdict], actor: str, now: int) -> Taken:
        """Makes what the hub says facts of the queue. Done again it changes nothing."""
        taken = Taken()
        outbox = Outbox(self._config)
        try:
            for verdict in verdicts:
                self._take(outbox, verdict, taken, now)
        finally:
            outbox.close()
        with transaction(self._db):
            self._db.execute(_SQL["receipts"], {"now": now})
            detail = f"{taken.delivered} parcels delivered, {taken.refused} refused"
            record(self._db, at=now, actor=actor, role="shell", action="courier_receipts", detail=detail)
        return taken

    def _take(self, outbox: Outbox, verdict: ParcelVerdict, taken: Taken, now: int) -> None:
        rows = self._db.execute(_SQL["of_digest"], {"digest": _bytes(verdict.parcel)}).fetchall()
        waiting = [row for row in rows if row["state"] not in _SETTLED]
        if not waiting:
            taken.unknown += not rows
            taken.known += bool(rows)
        for row in waiting:
            self._settle(outbox, parcel_of(row, self._data / "parcels"), verdict, taken, now)

    def _settle(self, outbox: Outbox, parcel: Parcel, verdict: ParcelVerdict, taken: Taken, now: int) -> None:
        if verdict.verdict not in {Verdict.VERIFIED, Verdict.REFUSED}:
            return
        good = _digest_of(parcel.path) == parcel.digest if verdict.refusal is Refusal.DIGEST else None
        settlement = settle(verdict, outbox.instances(parcel.id), refusals=parcel.refusals, file_is_good=good)
        outbox.settle(parcel, settlement, now)
        taken.instances += len(settlement.held)
        taken.delivered += settlement.step is Step.DELIVER
        taken.refused += settlement.step is not Step.DELIVER


def said_key(connection: sqlite3.Connection) -> str:
    """The public key that the hub said last, over the line; empty: it never did."""
    row = connection.execute(_SQL["courier"]).fetchone()
    return row["hub_key"] if row else ""


def _studies(rows: Sequence[sqlite3.Row]) -> tuple[StudyFacts, ...]:
    parcels: dict[str, list[str]] = {}
    for row in rows:
        parcels.setdefault(row["study_instance_uid"], []).append(row["digest"].hex())
    first = {row["study_instance_uid"]: row for row in reversed(rows)}
    return tuple(_study(first[uid], tuple(digests)) for uid, digests in parcels.items())


def _study(row: sqlite3.Row, parcels: tuple[str, ...]) -> StudyFacts:
    return StudyFacts(
        study_instance_uid=row["study_instance_uid"],
        patient_name=row["patient_name"],
        patient_id=row["patient_id"],
        accession_number=row["accession_number"],
        study_date=row["study_date"],
        study_description=row["study_description"],
        priority=Priority(row["priority"]).word,
        instances=row["instances"],
        parcels=parcels,
    )


def _bytes(digest: str) -> bytes:
    """What is no digest is one that nobody has."""
    try:
        return bytes.fromhex(digest)
    except ValueError:
        return b""


def _digest_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""
