"""The rows of performed procedure steps, and what they say of studies. Call inside a transaction; times in Unix ms."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from appliance.model.performed import StepState, is_complete
from appliance.named_sql import NamedSql
from appliance.store_forward.queue import record_event

STEP_BYTES_MAX: Final = 32 << 20  # of one step's messages, all N-SETs counted
_KEPT_MS: Final = 90 * 86_400_000
_FORGOTTEN: Final = 100
_SQL: Final = NamedSql("appliance.store_forward.sql", "mpps.sql")


@dataclass(frozen=True, slots=True)
class Message:
    """An N-CREATE or N-SET as it came. `images` None: it says nothing of series."""

    data_set: bytes
    transfer_syntax_uid: str
    studies: frozenset[str]
    images: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class Step:
    """A step that is there."""

    id: int
    state: StepState
    bytes: int


def find(connection: sqlite3.Connection, sop_instance_uid: str) -> Step | None:
    """The step of this UID."""
    row = connection.execute(_SQL["find_step"], {"sop_instance_uid": sop_instance_uid}).fetchone()
    return Step(row["id"], StepState(row["state"]), row["bytes"]) if row else None


def create(
    connection: sqlite3.Connection, sop_instance_uid: str, message: Message, calling_ae: str, address: str, now: int
) -> bool:
    """Makes a step IN PROGRESS; False when the UID is taken."""
    values = {
        "sop_instance_uid": sop_instance_uid,
        "state": str(StepState.IN_PROGRESS),
        "calling_ae": calling_ae,
        "address": address,
        "now": now,
    }
    row = connection.execute(_SQL["add_step"], values).fetchone()
    if row is None:
        return False
    _keep(connection, int(row["id"]), "create", message, now)
    return True


def change(connection: sqlite3.Connection, step: Step, state: StepState, message: Message, now: int) -> None:
    """Keeps an N-SET; a final one may settle studies."""
    connection.execute(_SQL["change_step"], {"id": step.id, "state": str(state), "now": now})
    _keep(connection, step.id, "set", message, now)
    for row in connection.execute(_SQL["studies_of_step"], {"id": step.id}).fetchall():
        settle(connection, row["id"], now)


def _keep(connection: sqlite3.Connection, number: int, operation: str, message: Message, now: int) -> None:
    values = {
        "id": number,
        "now": now,
        "operation": operation,
        "transfer_syntax_uid": message.transfer_syntax_uid,
        "data_set": message.data_set,
    }
    connection.execute(_SQL["add_message"], values)
    connection.execute(_SQL["count_bytes"], {"id": number, "bytes": len(message.data_set)})
    connection.executemany(_SQL["add_study"], [{"id": number, "study_instance_uid": uid} for uid in message.studies])
    if message.images is not None:  # a sequence that is set takes the place of the one before (PS3.7 10.1.3)
        connection.execute(_SQL["forget_images"], {"id": number})
        connection.executemany(_SQL["add_image"], [{"id": number, "sop_instance_uid": uid} for uid in message.images])


def came(connection: sqlite3.Connection, study_id: int, uids: Collection[str], now: int) -> None:
    """Instances of a study came: when they were the last that a step names, the study is settled."""
    if _ended(connection, study_id):
        values = {"study_id": study_id, "uids": json.dumps(list(uids))}
        if connection.execute(_SQL["names_any"], values).fetchone():
            settle(connection, study_id, now)


def settle(connection: sqlite3.Connection, study_id: int, now: int) -> None:
    """Ends the quiet time of a study when its steps say that all of it is here."""
    named = _number(connection, "named", study_id)
    # Counting what is here takes a search for each image; most often this number alone says that some lack.
    if not _ended(connection, study_id) or _number(connection, "instances", study_id) < named:
        return
    states, here = _states(connection, study_id), _number(connection, "named_and_here", study_id)
    if is_complete(states, named, here) and connection.execute(_SQL["settle"], {"study_id": study_id}).rowcount:
        record_event(connection, study_id, now, "performed", named)


def _ended(connection: sqlite3.Connection, study_id: int) -> bool:
    return is_complete(_states(connection, study_id), 1, 1)


def _states(connection: sqlite3.Connection, study_id: int) -> list[StepState]:
    return [StepState(row["state"]) for row in connection.execute(_SQL["states"], {"study_id": study_id})]


def named_of(connection: sqlite3.Connection, study_id: int) -> tuple[int, int] | None:
    """How many images came of those that the steps of the study name, and how many these are; None: they name none."""
    named = _number(connection, "named", study_id)
    return (_number(connection, "named_and_here", study_id), named) if named else None


def _number(connection: sqlite3.Connection, query: str, study_id: int) -> int:
    return int(connection.execute(_SQL[query], {"study_id": study_id}).fetchone()[0])


def forget(connection: sqlite3.Connection, now: int) -> None:
    """Removes steps that nothing was said of for three months, some of them."""
    connection.execute(_SQL["forget"], {"before": now - _KEPT_MS, "limit": _FORGOTTEN})
