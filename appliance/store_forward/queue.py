"""Changes of state in the queue, and the few writes that every process makes.

`model/states.py` says which changes are legal; here they become SQL. A process's own queries are in its own module
(`receive.py`, `packing.py`, `forward.py`) and `.sql` file; all go through `move_instances` and `move_parcel`.
Call these inside `database.transaction`.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Sequence

from appliance.model.states import (
    INSTANCE_TRANSITIONS,
    PARCEL_TRANSITIONS,
    IllegalTransitionError,
    InstanceEvent,
    ParcelEvent,
    ParcelState,
    next_state,
    states_that_allow,
)
from appliance.named_sql import NamedSql

_SQL = NamedSql("appliance.store_forward.sql", "queue.sql")


def move_instances(connection: sqlite3.Connection, ids: Sequence[int], event: InstanceEvent) -> None:
    """Applies `event` to every instance of `ids`. Raises IllegalTransitionError, and changes none, if one can't."""
    table = {str(before): str(after) for before, after in states_that_allow(INSTANCE_TRANSITIONS, event).items()}
    values = {"ids": json.dumps(list(ids)), "table": json.dumps(table)}
    moved = connection.execute(_SQL["move_instances"], values).rowcount
    if moved != len(set(ids)):
        raise IllegalTransitionError(f"{event}: legal for {moved} of {len(set(ids))} instances")


def move_parcel(connection: sqlite3.Connection, parcel_id: int, event: ParcelEvent) -> ParcelState:
    """Applies `event` to one parcel and returns its new state. Raises IllegalTransitionError."""
    row = connection.execute(_SQL["parcel_state"], {"id": parcel_id}).fetchone()
    after = next_state(PARCEL_TRANSITIONS, ParcelState(row["state"]), event)
    connection.execute(_SQL["set_parcel_state"], {"id": parcel_id, "state": str(after)})
    return after


def record_event(
    connection: sqlite3.Connection, study_id: int, at: int, kind: str, count: int = 0, detail: str = ""
) -> None:
    """Adds a line to the study's timeline. `kind` is a word that the page has a sentence for; `at` in Unix ms."""
    connection.execute(
        _SQL["record_event"], {"study_id": study_id, "at": at, "kind": kind, "count": count, "detail": detail}
    )


def beat(connection: sqlite3.Connection, name: str, now: int, status: str, problem: str = "") -> None:
    """Says that the process `name` is alive and what it is doing. `now` in Unix ms; `status` without patient data.

    `problem`: the id of an error that it waits to pass.
    """
    values = {"name": name, "pid": os.getpid(), "now": now, "status": status, "problem": problem}
    connection.execute(_SQL["beat"], values)
