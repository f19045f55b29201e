"""The rows of storage commitment: what was asked, how it was decided, who is to be told. A promise is a row.

Call these inside a transaction. Times in Unix ms. A row stays until its report was taken, and a month after that, so
that a transaction UID that comes again is known.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

from appliance.errors import DamagedFileError
from appliance.model.commitment import Copy, Failure, Level, judge, look_pause_ms
from appliance.model.states import InstanceState
from appliance.named_sql import NamedSql

OPEN_MAX: Final = 100_000  # requests of one AE that wait for their report: some devices ask for each image by itself
OPEN_ITEMS_MAX: Final = 500_000
HOLD_MS: Final = 3_000  # a device whose association is open hears on it, before another is opened to it
_FAR_MS: Final = 1_200_000  # longer than any pause
_KEPT_MS: Final = 30 * 86_400_000
_LOOKED_AT: Final = 50
_FORGOTTEN: Final = 200
_SQL: Final = NamedSql("appliance.store_forward.sql", "commitment.sql")


@dataclass(frozen=True, slots=True)
class Asked:
    """An N-ACTION: instances as (SOP class, SOP instance)."""

    transaction_uid: str
    references: tuple[tuple[str, str], ...]
    calling_ae: str
    address: str
    level: Level


@dataclass(frozen=True, slots=True)
class Report:
    """One that is decided and was not told yet. `items`: SOP class, SOP instance, failure reason or 0."""

    id: int
    transaction_uid: str
    calling_ae: str
    address: str
    tries: int
    items: tuple[tuple[str, str, int], ...]


def add(connection: sqlite3.Connection, asked: Asked, now: int) -> int | None:
    """The row of a request, decided when it can be; None when too many of this device are open.

    The same request again, before its report was taken, is the same: one report. Any other with a transaction UID that
    was there is decided at once: all of it fails with 0x0131.
    """
    same = connection.execute(
        _SQL["same_transaction"], {"calling_ae": asked.calling_ae, "transaction_uid": asked.transaction_uid}
    ).fetchone()
    if same and same["told_at"] is None and _references(connection, same["id"]) == asked.references:
        return int(same["id"])
    open_ = connection.execute(_SQL["open"], {"calling_ae": asked.calling_ae}).fetchone()
    if open_["requests"] >= OPEN_MAX or open_["items"] + len(asked.references) > OPEN_ITEMS_MAX:
        return None
    number = _insert(connection, asked, Failure.DUPLICATE_TRANSACTION if same else Failure.NONE, now)
    if same:
        connection.execute(_SQL["decided"], {"id": number, "now": now, "next_at": now + HOLD_MS})
    else:
        decide(connection, number, asked.level, now, tell_at=now + HOLD_MS)
    return number


def _references(connection: sqlite3.Connection, number: int) -> tuple[tuple[str, str], ...]:
    rows = connection.execute(_SQL["items"], {"id": number})
    return tuple((row["sop_class_uid"], row["sop_instance_uid"]) for row in rows)


def _insert(connection: sqlite3.Connection, asked: Asked, failure: Failure, now: int) -> int:
    values: dict[str, Any] = {
        "transaction_uid": asked.transaction_uid,
        "calling_ae": asked.calling_ae,
        "address": asked.address,
        "level": str(asked.level),
        "items": len(asked.references),
        "now": now,
        "next_at": now + look_pause_ms(0),
    }
    number = int(connection.execute(_SQL["add"], values).fetchone()[0])
    items = [
        {"id": number, "number": at, "sop_class_uid": sop_class, "sop_instance_uid": instance, "failure": int(failure)}
        for at, (sop_class, instance) in enumerate(asked.references)
    ]
    connection.executemany(_SQL["add_item"], items)
    return number


def decide(connection: sqlite3.Connection, number: int, level: Level, now: int, *, tell_at: int) -> bool:
    """Whether every instance of the request is known to be safe, or not; then it is to be told from `tell_at` on."""
    failures = []
    rows = connection.execute(_SQL["copies"], {"id": number})
    for item, found in groupby(rows, key=itemgetter("number")):
        copies = list(found)
        failure = judge(level, copies[0]["asked_class"], list(_copies(copies)))
        if failure is None:
            rows.close()
            return False
        if failure is not Failure.NONE:
            failures.append({"id": number, "number": item, "failure": int(failure)})
    connection.executemany(_SQL["fail_item"], failures)
    connection.execute(_SQL["decided"], {"id": number, "now": now, "next_at": tell_at})
    return True


def _copies(rows: list[sqlite3.Row]) -> Iterator[Copy]:
    for row in rows:
        if row["state"] is not None:
            state = InstanceState(row["state"])
            damaged = state is InstanceState.QUARANTINED and row["reason"] == DamagedFileError.id
            yield Copy(row["sop_class_uid"], state, damaged)


def decide_due(connection: sqlite3.Connection, now: int, listening: Collection[str]) -> int:
    """Looks again at requests that wait for receipts; how many were decided. `listening`: AEs with an association."""
    decided = 0
    values = {"now": now, "far": _FAR_MS, "limit": _LOOKED_AT}
    for row in connection.execute(_SQL["to_decide"], values).fetchall():
        tell_at = now + HOLD_MS if row["calling_ae"] in listening else now
        if decide(connection, row["id"], Level(row["level"]), now, tell_at=tell_at):
            decided += 1
        else:
            next_at = now + look_pause_ms(abs(now - row["asked_at"]))
            connection.execute(_SQL["look_later"], {"id": row["id"], "next_at": next_at})
    return decided


def to_tell(
    connection: sqlite3.Connection, now: int, claimed: Collection[int], busy: Collection[tuple[str, str]], limit: int
) -> list[Report]:
    """Reports whose time has come, but those that somebody is sending, and those for a `busy` (AE title, address)."""
    values = {
        "now": now,
        "far": _FAR_MS,
        "claimed": json.dumps(list(claimed)),
        "busy": json.dumps([f"{calling_ae}\n{address}" for calling_ae, address in busy]),
        "limit": limit,
    }
    return [_report(connection, row) for row in connection.execute(_SQL["to_tell"], values).fetchall()]


def to_tell_here(
    connection: sqlite3.Connection, calling_ae: str, address: str, claimed: Collection[int]
) -> Report | None:
    """The next report for a device that listens on an association of its own."""
    values = {"calling_ae": calling_ae, "address": address, "claimed": json.dumps(list(claimed)), "limit": 1}
    row = connection.execute(_SQL["to_tell_here"], values).fetchone()
    return _report(connection, row) if row else None


def _report(connection: sqlite3.Connection, row: sqlite3.Row) -> Report:
    items = tuple(
        (item["sop_class_uid"], item["sop_instance_uid"], item["failure"])
        for item in connection.execute(_SQL["items"], {"id": row["id"]})
    )
    return Report(row["id"], row["transaction_uid"], row["calling_ae"], row["address"], row["tries"], items)


def told(connection: sqlite3.Connection, number: int, now: int) -> None:
    """The requester took the report."""
    connection.execute(_SQL["told"], {"id": number, "now": now})


def not_told(connection: sqlite3.Connection, number: int, next_at: int) -> None:
    """It did not; it is tried again at `next_at`."""
    connection.execute(_SQL["not_told"], {"id": number, "next_at": next_at})


def tell_now(connection: sqlite3.Connection, calling_ae: str, address: str, now: int) -> None:
    """The device ended its association: what it was not told there is told on another, at once."""
    connection.execute(_SQL["tell_now"], {"calling_ae": calling_ae, "address": address, "now": now})


def forget(connection: sqlite3.Connection, now: int) -> None:
    """Removes what was told over a month ago, some of it."""
    connection.execute(_SQL["forget"], {"before": now - _KEPT_MS, "limit": _FORGOTTEN})
