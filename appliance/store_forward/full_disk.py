"""A disk that takes nothing now, because it is full or fails, is waited for: nobody ends, and nothing is given up.

The log has a line when a wait begins and one when it ends, none for the tries in between.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from appliance.errors import ApplianceError, DatabaseError
from appliance.logs import get_logger
from appliance.store_forward.database import FILE_NAME, open_database, transaction

PAUSE_SECONDS: Final = 1.0  # between two tries
WAITING: Final = "waiting for the disk"  # what a process says of itself meanwhile
# What another try may overcome, once somebody made room, mended the disk, or let go of a lock.
_PASSING: Final = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_NOMEM,
    }
)
_LOOK_SECONDS: Final = 1.0  # a lock that is held longer is no full disk
_OF_DISK: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR})
_T = TypeVar("_T")
_log = get_logger()


def may_pass(error: sqlite3.Error) -> bool:
    """Whether the same may work later. A damaged database, one that is not ours, and our own mistakes do not pass."""
    return _code(error) in _PASSING


def _code(error: BaseException | None) -> int:
    return int(getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)) & 0xFF


def takes_nothing(data: Path) -> bool:
    """Whether the disk refuses to write to the queue in `data`: then a process that does not beat is not to blame.

    It tries: a transaction that changes nothing.
    """
    if not (data / FILE_NAME).exists():
        return False
    try:
        opened = open_database(data, busy_seconds=_LOOK_SECONDS)
        with contextlib.closing(opened) as connection, transaction(connection):
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            connection.execute(f"PRAGMA user_version = {version:d}")
    except sqlite3.Error as error:
        return _code(error) in _OF_DISK
    except DatabaseError as error:
        return _code(error.__cause__) in _OF_DISK
    return False


class Wait:
    """Whether something can't be written now; `subject` is its name in the log. Not for two threads."""

    def __init__(self, subject: str) -> None:
        self._subject = subject
        self.lasts = False

    def begin(self, problem: ApplianceError) -> None:
        """It could not be written. Says so if that is new."""
        if not self.lasts:
            _log.error(f"{self._subject} can't be written", error_id=problem.id, reason=problem.message)
        self.lasts = True

    def end(self) -> None:
        """It was written. Says so if that is new."""
        if self.lasts:
            _log.info(f"{self._subject} can be written again")
        self.lasts = False


def insist(what: Callable[[], _T], stop: threading.Event) -> _T | None:
    """What `what` returns, which opens the queue, as soon as the disk lets it; None when `stop` is set first.

    Raises DatabaseError when waiting would not help.
    """
    wait = Wait("the queue")
    while not stop.is_set():
        try:
            opened = what()
        except DatabaseError as error:
            cause = error.__cause__
            if not isinstance(cause, sqlite3.Error) or not may_pass(cause):
                raise
            wait.begin(error)
            stop.wait(PAUSE_SECONDS)
        else:
            wait.end()
            return opened
    return None
