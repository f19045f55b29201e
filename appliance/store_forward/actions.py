"""What a person may do to studies, devices and refusals: each with its line in the timeline and in the audit trail.

Call these inside `database.transaction`; the change and its audit line are one commit.
"""

from __future__ import annotations

import json
import sqlite3
from typing import Final, Literal

import msgspec

from appliance.audit import trail
from appliance.errors import NotFoundError
from appliance.model.priority import Priority
from appliance.model.states import InstanceEvent
from appliance.named_sql import NamedSql
from appliance.store_forward import devices
from appliance.store_forward.queue import move_instances, record_event

_SQL = NamedSql("appliance.store_forward.sql", "page.sql")
VIEW_MS: Final = 15 * 60_000  # looks of one person at one study are one look for so long


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """Who does it: login name, role, and the address it came from."""

    name: str
    role: str
    address: str = ""


def record(
    connection: sqlite3.Connection, by: Actor, action: str, at: int, *, study_id: int | None = None, detail: str = ""
) -> None:
    """One line of the audit trail."""
    trail.record(
        connection,
        at=at,
        actor=by.name,
        role=by.role,
        address=by.address,
        action=action,
        study_id=study_id,
        detail=detail,
    )


def record_view(connection: sqlite3.Connection, study_id: int, by: Actor, at: int) -> None:
    """Notes in the audit trail that a person looked at a study: once a quarter of an hour, though the page reloads."""
    values = {"study_id": study_id, "actor": by.name, "after": at - VIEW_MS, "at": at}
    if connection.execute(_SQL["recent_view"], values).fetchone() is None:
        record(connection, by, "view_study", at, study_id=study_id)


def set_priority(connection: sqlite3.Connection, study_id: int, priority: Priority, by: Actor, at: int) -> bool:
    """Changes the priority; False when it already was. Raises NotFoundError."""
    row = connection.execute(_SQL["study_priority"], {"study_id": study_id}).fetchone()
    if row is None:
        raise NotFoundError("There is no such study on this box.")
    before = Priority(row["priority"])
    if before is priority:
        return False
    connection.execute(_SQL["set_priority"], {"study_id": study_id, "priority": int(priority)})
    record_event(connection, study_id, at, "priority", detail=priority.word)
    record(connection, by, "change_priority", at, study_id=study_id, detail=f"{before.word} -> {priority.word}")
    return True


def send_again(connection: sqlite3.Connection, study_id: int, by: Actor, at: int) -> int:
    """Puts instances back to be packed and sent; returns how many. Raises NotFoundError.

    Those that are stuck, if any: quarantined, or packed into a parcel that was refused. If none is stuck, those that
    are delivered and still on this box. An instance in a parcel that is on its way is left alone: the parcel goes on
    at the byte where it is, and a second copy of it would only take the line twice.
    """
    if connection.execute(_SQL["study_priority"], {"study_id": study_id}).fetchone() is None:
        raise NotFoundError("There is no such study on this box.")
    for query in ("stuck_instances", "delivered_instances"):
        ids = [row["id"] for row in connection.execute(_SQL[query], {"study_id": study_id})]
        if ids:
            break
    else:
        return 0
    move_instances(connection, ids, InstanceEvent.SEND_AGAIN)
    connection.execute(_SQL["forget_failures"], {"ids": json.dumps(ids)})
    connection.execute(_SQL["supersede_parcels"], {"study_id": study_id, "at": at})
    record_event(connection, study_id, at, "send_again", len(ids), by.name)
    record(connection, by, "send_again", at, study_id=study_id, detail=f"{len(ids)} instances")
    return len(ids)


def check_conflicts(connection: sqlite3.Connection, study_id: int, by: Actor, at: int) -> None:
    """Notes that a person looked at the study's conflicts; a new one asks for help again. Raises NotFoundError."""
    if connection.execute(_SQL["check_conflicts"], {"study_id": study_id}).rowcount != 1:
        raise NotFoundError("There is no such study on this box.")
    record_event(connection, study_id, at, "conflicts_checked", detail=by.name)
    record(connection, by, "check_conflicts", at, study_id=study_id)


def decide_device(
    connection: sqlite3.Connection, device_id: int, decision: Literal["allowed", "refused"], by: Actor, at: int
) -> None:
    """Lets a device send, or not; its name and priority stay. Raises NotFoundError."""
    device = _device(connection, device_id)
    devices.decide(
        connection,
        device_id,
        decision,
        by=by.name,
        at=at,
        name=device["name"],
        settle_ms=device["settle_ms"],
        priority=Priority(device["priority"]),
    )
    record(connection, by, "decide_device", at, detail=f"{decision}: {device['calling_ae']} at {device['address']}")


def describe_device(
    connection: sqlite3.Connection, device_id: int, name: str, priority: Priority, by: Actor, at: int
) -> None:
    """Sets the name that people see, and the priority that its studies start with. Raises NotFoundError."""
    _device(connection, device_id)
    values = {"device_id": device_id, "name": name, "priority": int(priority)}
    connection.execute(_SQL["describe_device"], values)
    record(connection, by, "describe_device", at, detail=f"{device_id}: {name}, {priority.word}")


def _device(connection: sqlite3.Connection, device_id: int) -> sqlite3.Row:
    row: sqlite3.Row | None = connection.execute(_SQL["device"], {"device_id": device_id}).fetchone()
    if row is None:
        raise NotFoundError("There is no such device.")
    return row


def dismiss_refused(connection: sqlite3.Connection, refused_id: int, by: Actor, at: int) -> None:
    """Takes a refusal off the list; the next one of its kind is a new line. Raises NotFoundError."""
    if connection.execute(_SQL["dismiss_refused"], {"refused_id": refused_id, "at": at}).rowcount != 1:
        raise NotFoundError("That line is no longer on the list.")
    record(connection, by, "dismiss_refusal", at, detail=str(refused_id))
