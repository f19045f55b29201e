"""What a power cut may leave in the spool, found at start-up: files without a row, rows without a file."""

from __future__ import annotations

import sqlite3
import threading
from functools import partial
from typing import Final

from appliance.errors import DamagedFileError
from appliance.model.states import InstanceEvent
from appliance.named_sql import NamedSql
from appliance.store_forward.journal import Journal
from appliance.store_forward.queue import move_instances
from appliance.store_forward.spool import Spool, directory_of, remove

_SQL: Final = NamedSql("appliance.store_forward.sql", "receive.sql")
_STEP: Final = 2000  # rows looked at in one go


def remove_orphans(connection: sqlite3.Connection, spool: Spool) -> int:
    """Removes files that were renamed and never got a row; returns how many. Nobody was told that they were stored.

    They can lie only in the directory that the newest committed row points to: see `spool.directory_of`.
    """
    directory = directory_of(int(connection.execute(_SQL["last_instance"]).fetchone()[0]))
    bounds = {"low": f"{directory}/", "high": f"{directory}0"}  # "0" is the character after "/"
    named = {row["file"] for row in connection.execute(_SQL["files_between"], bounds)}
    orphans = spool.files_in(directory) - named
    for file in orphans:
        remove(spool.path(file))
    return len(orphans)


def quarantine_lost(spool: Spool, journal: Journal, stop: threading.Event) -> int:
    """Quarantines (E203) each instance that waits to be packed and whose file is gone; returns how many.

    Runs beside the receiver: a file is there before its row, so a row without a file is no race.
    """
    lost, after = 0, 0
    while not stop.is_set():
        rows = journal.ask(partial(_waiting, after))
        if not rows:
            break
        after = rows[-1]["id"]
        missing = [row["id"] for row in rows if not spool.path(row["file"]).exists()]
        if missing:
            lost += journal.ask(partial(_quarantine, spool, missing))
    return lost


def _waiting(after: int, connection: sqlite3.Connection) -> list[sqlite3.Row]:
    return connection.execute(_SQL["waiting_files"], {"id": after, "limit": _STEP}).fetchall()


def _quarantine(spool: Spool, ids: list[int], connection: sqlite3.Connection) -> int:
    """Of these, those whose file is still missing: the modality may have sent one again meanwhile."""
    lost = []
    for number in ids:
        row = connection.execute(_SQL["is_waiting"], {"id": number}).fetchone()
        if row and not spool.path(row["file"]).exists():
            connection.execute(_SQL["set_reason"], {"id": number, "reason": DamagedFileError.id})
            lost.append(number)
    if lost:
        move_instances(connection, lost, InstanceEvent.QUARANTINE)
    return len(lost)
