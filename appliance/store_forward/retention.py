"""Removes what is delivered and past its time: spool files after the site's retention days, parcels at once.

Nothing goes without a receipt. A file is removed first, then its directory synced, then the row says so, all inside
one transaction: a cut on the way leaves a row that still asks for the removal of a file that may be gone, and the
next turn does it again. The other order could leave a file that no query finds. Nobody can ask for the instance to
be sent again in between, because the transaction holds the write lock.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from appliance.clock import now_ms
from appliance.config import UnitConfig
from appliance.logs import get_logger
from appliance.model.states import InstanceEvent
from appliance.named_sql import NamedSql
from appliance.store_forward.database import transaction
from appliance.store_forward.queue import move_instances
from appliance.store_forward.spool import sync_directory

_SQL: Final = NamedSql("appliance.store_forward.sql", "pack.sql")
_STEP: Final = 64  # files in one transaction: others wait for it
_TURN_SECONDS: Final = 1.0
_AGAIN_SECONDS: Final = 30.0  # a disk that does not let go of a file does not do so a second later
_HEADERS_SECONDS: Final = 3600.0
_DAY_MS: Final = 86_400_000
_log = get_logger()


def expired_before(now: int, retention_days: float) -> int:
    """Receipts older than this moment are past their time. Unix milliseconds."""
    return now - round(retention_days * _DAY_MS)


class Retention:
    """Called by the packing process, in its thread."""

    def __init__(self, config: UnitConfig, connection: sqlite3.Connection) -> None:
        self._days = config.storage.retention_days
        self._spool, self._parcels = config.data / "spool", config.data / "parcels"
        self._db = connection
        self._next = self._next_headers = 0.0

    def turn(self) -> None:
        """About every second: one step of each kind of removal, if there is something to remove."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _TURN_SECONDS
        now = now_ms()
        before = expired_before(now, self._days)
        try:
            more = self.remove_instances(before) + self.remove_parcels(now)
        except OSError as error:
            more = 0
            self._next = time.monotonic() + _AGAIN_SECONDS
            _log.error("not_removed", reason=error.strerror)
        if time.monotonic() >= self._next_headers:
            self.forget_dictionaries(before)
            self._next_headers = time.monotonic() + _HEADERS_SECONDS
        if more:
            self._next = 0.0

    def remove_instances(self, before: int) -> int:
        """Spool files of instances that were delivered before this moment; returns how many. Raises OSError."""
        values = {"before": before, "limit": _STEP}
        if not self._db.execute(_SQL["expired"], values).fetchone():
            return 0
        with transaction(self._db):
            rows = self._db.execute(_SQL["expired"], values).fetchall()
            _remove([self._spool / row["file"] for row in rows])
            move_instances(self._db, [row["id"] for row in rows], InstanceEvent.EXPIRE)
        return len(rows)

    def remove_parcels(self, now: int) -> int:
        """Files of parcels that the hub verified or refused; returns how many. Raises OSError."""
        rows = self._db.execute(_SQL["spent_parcels"], {"limit": _STEP}).fetchall()
        if not rows:
            return 0
        _remove([self._parcels / row["file"] for row in rows])
        with transaction(self._db):
            self._db.execute(_SQL["parcels_gone"], {"ids": json.dumps([row["id"] for row in rows]), "now": now})
        return len(rows)

    def forget_dictionaries(self, before: int) -> int:
        """Headers of studies that are long whole at the hub; returns how many."""
        with transaction(self._db):
            return self._db.execute(_SQL["forget_dictionaries"], {"before": before}).rowcount


def _remove(paths: Sequence[Path]) -> None:
    """Removes files, if they are there, durably."""
    for path in paths:
        path.unlink(missing_ok=True)
    for directory in {path.parent for path in paths}:
        sync_directory(directory)
