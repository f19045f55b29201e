"""Looks at studies that the audit trail could not take at once: the disk is full, or somebody holds the database.

Who asks whether a study went must see it then above all, so the page shows it. The look is in the log at once and, with
its own time, in the trail as soon as that can be written (docs/decisions/0018).
"""

from __future__ import annotations

import sqlite3
import threading
from typing import Final

import msgspec

from appliance.logs import get_logger
from appliance.store_forward import actions
from appliance.store_forward.actions import Actor
from appliance.store_forward.database import transaction

KEPT_MAX: Final = 1000  # what is more is in the log alone
_log = get_logger()


class View(msgspec.Struct, frozen=True, kw_only=True):
    """A person looked at a study. `at` in Unix ms."""

    study_id: int
    by: Actor
    at: int


class LateViews:
    """Those that wait. For any thread."""

    def __init__(self) -> None:
        self._waiting: list[View] = []
        self._lock = threading.Lock()

    def keep(self, view: View) -> None:
        """Keeps it and says so, unless it is part of a look that waits: a page that reloads itself."""
        with self._lock:
            if any(_is_same_look(view, other) for other in self._waiting):
                return
            if len(self._waiting) < KEPT_MAX:
                self._waiting.append(view)
        _log.warning(
            "a look is not in the audit trail yet", study=view.study_id, name=view.by.name, address=view.by.address
        )

    def write(self, connection: sqlite3.Connection) -> None:
        """Puts all that wait into the trail, with their own times. Raises sqlite3.Error, and then keeps them."""
        with self._lock:
            waiting = list(self._waiting)
        if not waiting:
            return
        with transaction(connection):
            for view in waiting:
                actions.record_view(connection, view.study_id, view.by, view.at)
        with self._lock:
            del self._waiting[: len(waiting)]
        _log.info("late looks are in the audit trail", count=len(waiting))


def _is_same_look(one: View, other: View) -> bool:
    return (one.study_id, one.by.name) == (other.study_id, other.by.name) and abs(one.at - other.at) < actions.VIEW_MS
