"""Devices that called and are in no configuration: seen by `receive`, decided by an engineer on the page."""

from __future__ import annotations

import re
import sqlite3
from dataclasses import dataclass
from typing import Final, Literal

from appliance.dimse.policy import Caller
from appliance.errors import NotFoundError
from appliance.model.priority import Priority
from appliance.named_sql import NamedSql

UNDECIDED_MAX: Final = 200
_NOTES_AT_ONCE: Final = 20
_NOTES_A_SECOND: Final = 1.0
_SQL: Final = NamedSql("appliance.store_forward.sql", "receive.sql")
_AE_TITLE: Final = re.compile(
    r"[\x21-\x5b\x5d-\x7e][\x20-\x5b\x5d-\x7e]{0,15}"
)  # PS3.5 6.2: AE, without a leading space


class Allowance:
    """How many unknown callers may be noted: twenty at once, then one a second.

    A note is a commit, for which modalities wait too: whoever tries every AE title must not slow them down, nor wear
    the disk out. Not for two threads.
    """

    def __init__(self) -> None:
        self._left = float(_NOTES_AT_ONCE)
        self._at = float("-inf")

    def take(self, now: float) -> bool:
        """Whether one more may be noted at `now` (monotonic seconds)."""
        self._left = min(float(_NOTES_AT_ONCE), self._left + (now - self._at) * _NOTES_A_SECOND)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


@dataclass(frozen=True, slots=True)
class DeviceSettings:
    """What the engineer decided of a device. `settle_ms` None: the general value."""

    allowed: bool
    name: str
    settle_ms: int | None
    priority: Priority


def find(connection: sqlite3.Connection, caller: Caller) -> DeviceSettings | None:
    """The decision on this caller, or None when there is none yet."""
    row = connection.execute(
        _SQL["find_device"], {"calling_ae": caller.calling_ae, "address": caller.address}
    ).fetchone()
    if row is None or row["decision"] is None:
        return None
    return DeviceSettings(row["decision"] == "allowed", row["name"], row["settle_ms"], Priority(row["priority"]))


def allowed_addresses(connection: sqlite3.Connection) -> frozenset[str]:
    """The addresses that at least one allowed device has."""
    return frozenset(row["address"] for row in connection.execute(_SQL["allowed_addresses"]))


def seen(connection: sqlite3.Connection, caller: Caller, at: int) -> None:
    """Notes an unknown caller for the engineer; `at` in Unix ms. Call inside a transaction.

    A calling AE title that breaks the rules for one is no modality's and is not noted. At most UNDECIDED_MAX wait
    for a decision; the ones not seen for longest go.
    """
    if not _AE_TITLE.fullmatch(caller.calling_ae):
        return
    called = caller.called_ae if _AE_TITLE.fullmatch(caller.called_ae) else "?"
    values = {"calling_ae": caller.calling_ae, "address": caller.address, "called_ae": called, "at": at}
    connection.execute(_SQL["device_seen"], values)
    connection.execute(_SQL["forget_oldest_devices"], {"keep": UNDECIDED_MAX})


def decide(
    connection: sqlite3.Connection,
    device_id: int,
    decision: Literal["allowed", "refused"],
    *,
    by: str,
    at: int,
    name: str = "",
    settle_ms: int | None = None,
    priority: Priority = Priority.ROUTINE,
) -> None:
    """Writes the engineer's decision; it holds from the device's next association on. Call inside a transaction.

    `at` in Unix ms. Raises NotFoundError when the device is no longer in the table.
    """
    values = {
        "id": device_id,
        "decision": decision,
        "at": at,
        "by": by,
        "name": name,
        "settle_ms": settle_ms,
        "priority": int(priority),
    }
    if not connection.execute(_SQL["decide_device"], values).rowcount:
        raise NotFoundError("This device is no longer in the list; it appears again when it calls")
