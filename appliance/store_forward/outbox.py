"""The queue as `forward` sees it: parcels to send, what the hub said of them, receipts. One transaction a fact.

Use it in one thread. It believes what it is told: `upload.client` and `verdicts` decide; here it becomes rows. A parcel
that `appliance courier receipts` settled meanwhile, in a process of its own, is left alone.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from appliance.config import UnitConfig
from appliance.errors import ParcelError
from appliance.link.pace import Weight
from appliance.model.priority import Priority
from appliance.model.retry import CONTENT_FAULTS_MAX
from appliance.model.states import InstanceEvent, ParcelEvent, ParcelState
from appliance.named_sql import NamedSql
from appliance.store_forward.database import open_database, transaction
from appliance.store_forward.link_use import LinkUse, add_usage, read_use, rules_in
from appliance.store_forward.queue import beat, move_instances, move_parcel, record_event
from appliance.store_forward.schedule import Candidate, Lane, lane_of
from appliance.store_forward.verdicts import Held, Ours, Settlement, Step

OPEN_MAX: Final = 32  # uploads open at the hub at once; it allows a site twice as many

_SQL = NamedSql("appliance.store_forward.sql", "forward.sql")
_COURIER = NamedSql("appliance.store_forward.sql", "courier.sql")
_SETTLED = (ParcelState.DELIVERED, ParcelState.REFUSED)


class Parcel(msgspec.Struct, frozen=True, kw_only=True):
    """A parcel of the queue."""

    id: int
    study: int
    digest: str  # 64 hex digits
    bytes: int
    path: Path
    target: str  # its upload at the hub; empty: none yet
    offset: int = 0  # what the hub said last
    refusals: int = 0
    preview_bytes: int = 0


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a parcel is, for people, and the bytes put on the wire since this was last said."""

    parcel: int
    progress: int
    sent: int


class LinkRow(msgspec.Struct, frozen=True, kw_only=True):
    """The line as measured; the columns of table `link`."""

    up: bool
    since: int
    rate: float = 0.0
    rate_spread: float = 0.25
    round_trip_ms: float = 0.0
    hub_seen_at: int | None = None
    hub_name: str = ""
    clock_offset_ms: int | None = None
    problem: str = ""
    held: str = "[]"  # priorities that may not go now, as a JSON array of numbers


def parcel_of(row: sqlite3.Row, parcels: Path) -> Parcel:
    """The parcel of a row of table `parcel`; `parcels` is the directory of their files."""
    return Parcel(
        id=row["id"],
        study=row["study_id"],
        digest=row["digest"].hex(),
        bytes=row["bytes"],
        path=parcels / row["file"],
        target=row["upload_url"],
        offset=row["hub_offset"],
        refusals=row["refusals"],
    )


class Outbox:
    """The queue of the unit that `config` is of; opens its database."""

    def __init__(self, config: UnitConfig) -> None:
        self._config, self._rules = config, rules_in(config)
        self._db = open_database(config.data)
        self._parcels = config.data / "parcels"

    def close(self) -> None:
        """Closes the database."""
        self._db.close()

    # What is to be done

    def candidates(self, excluded: Collection[int], limit: int) -> list[tuple[Candidate, Parcel]]:
        """Parcels that may go, without those of `excluded`: the first `limit` in turn of each priority, of those with a
        preview to show, and of those that the hub asked for."""
        values = {"excluded": json.dumps(list(excluded)), "limit": limit}
        rows = [row for p in Priority for row in self._candidates("candidates", priority=int(p), **values)]
        rows += self._candidates("candidates_to_show", **values)
        rows += self._candidates("candidates_wished", **values)
        may_open = self._run("open_parcels").fetchone()[0] < OPEN_MAX
        found = {row["id"]: row for row in rows}
        return [(_candidate(row, may_open=may_open), self._parcel(row)) for row in found.values()]

    def candidate(self, parcel: int, offset: int) -> Candidate | None:
        """The parcel as it stands now, when the hub has `offset` bytes of it. None when it is to stay here."""
        query = _SQL["candidate"].replace("{columns}", _SQL["candidate_columns"])
        row = self._db.execute(query, {"id": parcel}).fetchone()
        if row is None or row["held_at"] is not None:
            return None
        return _candidate(row, offset=offset)

    def _candidates(self, query: str, **values: Any) -> list[sqlite3.Row]:
        return self._db.execute(_SQL[query].replace("{columns}", _SQL["candidate_columns"]), values).fetchall()

    def to_verify(self, after: int, excluded: Collection[int], limit: int) -> list[Parcel]:
        """The next parcels after id `after` that wait for a verdict."""
        values = {"after": after, "excluded": json.dumps(list(excluded)), "limit": limit}
        return [self._parcel(row) for row in self._db.execute(_SQL["to_verify"], values)]

    def instances(self, parcel: int) -> list[Ours]:
        """The instances whose newest parcel this is."""
        rows = self._db.execute(_SQL["instances_of_parcel"], {"id": parcel})
        return [Ours(instance=r["id"], sop_instance_uid=r["sop_instance_uid"], digest=r["digest"].hex()) for r in rows]

    # What the hub said of an upload

    def opened(self, parcel: int, target: str, offset: int, now: int) -> None:
        """The hub has an upload for it and holds `offset` bytes."""
        with self._unsettled(parcel) as so:
            if so:
                move_parcel(self._db, parcel, ParcelEvent.OPEN)
                self._run("opened", id=parcel, target=target, offset=offset, now=now)

    def held(self, parcel: int, offset: int) -> None:
        """The hub holds `offset` bytes."""
        with self._unsettled(parcel) as so:
            if so:
                self._run("held", id=parcel, offset=offset)

    def uploaded(self, parcel: int, now: int) -> None:
        """The hub holds all bytes; its verdict is next."""
        with self._unsettled(parcel) as so:
            if so:
                move_parcel(self._db, parcel, ParcelEvent.COMPLETE)
                self._run("uploaded", id=parcel, now=now)

    def forgotten(self, parcel: int, *, refusal: str = "") -> None:
        """The hub has no upload of it; it goes again from the first byte. `refusal` counts a content fault."""
        with self._unsettled(parcel) as so:
            if so:
                move_parcel(self._db, parcel, ParcelEvent.LOSE)
                self._run("forgotten", id=parcel, refusals=int(bool(refusal)), refusal=refusal)

    def use(self, now: int) -> LinkUse:
        """How the line may be used at `now` (Unix ms)."""
        return read_use(self._db, self._config, self._rules, now)

    def report(self, progress: Sequence[Progress], link: LinkRow, weight: Weight, status: str | None, now: int) -> None:
        """What people see meanwhile, and what the uplink carried; a sign of life when `status` is given."""
        with transaction(self._db):
            if weight.bytes:
                add_usage(self._db, self._config, weight, now)
            for item in progress:
                self._run("progress", id=item.parcel, progress=item.progress, sent=item.sent)
            self._run("set_link", **msgspec.structs.asdict(link))
            if status is not None:
                beat(self._db, "forward", now, status)

    # Verdicts

    def settle(self, parcel: Parcel, settlement: Settlement, now: int) -> int:
        """Makes the settlement of a verdict durable. Returns how many instances were given to a person."""
        with self._unsettled(parcel.id) as so:
            if not so:
                return 0
            self._deliver(parcel, settlement.held, now)
            if settlement.step is Step.DELIVER:
                move_parcel(self._db, parcel.id, ParcelEvent.VERIFIED)
                self._run("delivered", id=parcel.id, now=now)
                self._run("acknowledge_dictionaries", id=parcel.id, now=now)
            elif settlement.step is Step.SEND_AGAIN:
                move_parcel(self._db, parcel.id, ParcelEvent.LOSE)
                counted = int(settlement.counts)
                self._run("forgotten", id=parcel.id, refusals=counted, refusal=settlement.refusal)
            elif settlement.step is not Step.WAIT:
                return self._pack_again(parcel, settlement, now)
        return 0

    def give_up_file(self, parcel: Parcel, now: int) -> None:
        """The parcel's file is missing or damaged: its instances are packed anew from the spool."""
        self.settle(parcel, Settlement(step=Step.PACK_AGAIN, refusal="file"), now)

    def quarantine(self, parcel: Parcel, refusal: str, now: int) -> int:
        """The hub took the bytes too often for wrong: a person must look. Returns how many instances."""
        with self._unsettled(parcel.id) as so:
            if not so:
                return 0
            move_parcel(self._db, parcel.id, ParcelEvent.REFUSE)
            self._run("refused", id=parcel.id, refusal=refusal)
            ids = [row["id"] for row in self._packed(parcel.id, ())]
            self._put_aside(parcel.study, ids, now)
        return len(ids)

    @contextmanager
    def _unsettled(self, parcel: int) -> Iterator[bool]:
        """A transaction about this parcel, and whether it is still to be settled."""
        with transaction(self._db):
            state = self._db.execute("SELECT state FROM parcel WHERE id = :id", {"id": parcel}).fetchone()["state"]
            yield state not in _SETTLED

    def _deliver(self, parcel: Parcel, held: Sequence[Held], now: int) -> None:
        if not held:
            return
        ids = [receipt.instance for receipt in held]
        listed = json.dumps([[receipt.instance, receipt.held_at, int(receipt.conflict)] for receipt in held])
        self._run("received", held=listed, now=now)  # before the move: the study's counters take the time from it
        move_instances(self._db, ids, InstanceEvent.RECEIPT)
        record_event(self._db, parcel.study, now, "delivered", len(ids))

    def _pack_again(self, parcel: Parcel, settlement: Settlement, now: int) -> int:
        move_parcel(self._db, parcel.id, ParcelEvent.REFUSE)
        self._run("refused", id=parcel.id, refusal=settlement.refusal)
        if settlement.step is Step.PACK_WITHOUT_DICTIONARY:
            self._run("withdraw_dictionaries", id=parcel.id, now=now)
        rows = self._packed(parcel.id, [receipt.instance for receipt in settlement.held])
        spent = [r["id"] for r in rows if settlement.counts and r["refusals"] + 1 >= CONTENT_FAULTS_MAX]
        again = [r["id"] for r in rows if r["id"] not in set(spent)]
        if settlement.counts:
            plain = int(settlement.step is Step.PACK_PLAIN)
            self._run("count_refusal", ids=json.dumps(again + spent), plain=plain)
        if again:
            move_instances(self._db, again, InstanceEvent.UNPACK)
        self._put_aside(parcel.study, spent, now)
        return len(spent)

    def _put_aside(self, study: int, ids: list[int], now: int) -> None:
        if ids:
            move_instances(self._db, ids, InstanceEvent.QUARANTINE)
            self._run("set_reason", ids=json.dumps(ids), reason=ParcelError.id)
            record_event(self._db, study, now, "quarantined", len(ids), ParcelError.id)

    def _packed(self, parcel: int, excluded: Collection[int]) -> list[sqlite3.Row]:
        return self._run("packed_of_parcel", id=parcel, excluded=json.dumps(list(excluded))).fetchall()

    # Studies and the line

    def call_whole(self, now: int) -> None:
        """Notes on the timeline of studies that all of what came is at the hub, when no more comes."""
        found = self._run("to_call_whole", now=now).fetchall()
        if not found:
            return
        with transaction(self._db):
            for row in found:
                if self._run("call_whole", id=row["id"], now=now).rowcount:
                    record_event(self._db, row["id"], now, "delivered_all", row["instances"])

    def link(self) -> LinkRow | None:
        """The line as it was when this process last ran; None on a new box."""
        row = self._run("link").fetchone()
        return None if row is None else LinkRow(**{**dict(row), "up": bool(row["up"])})

    def hub_said_key(self, key: str, now: int) -> None:
        """The hub's public key for sticks, as it says over the line."""
        with transaction(self._db):
            self._db.execute(_COURIER["hub_key"], {"key": key, "now": now})

    def _run(self, query: str, **values: Any) -> sqlite3.Cursor:
        return self._db.execute(_SQL[query], values)

    def _parcel(self, row: sqlite3.Row) -> Parcel:
        return parcel_of(row, self._parcels)


def _candidate(row: sqlite3.Row, *, offset: int | None = None, may_open: bool = True) -> Candidate:
    """`may_open`: more uploads may be open at the hub at once. If not, a preview alone is no reason to open one."""
    lane = lane_of(row["hub_offset"] if offset is None else offset, row["preview_bytes"])
    return Candidate(
        parcel=row["id"],
        study=row["study_id"],
        priority=Priority(row["priority"]),
        first_received_at=row["first_received_at"],
        lane=lane if may_open or row["state"] == "open" else Lane.REST,
        rank=row["rank"],
    )
