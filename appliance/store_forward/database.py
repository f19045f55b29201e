"""The unit's database: how it is opened, and its numbered migrations.

WAL and `synchronous=FULL`: a COMMIT returns only after the log was fsynced, so a row that was committed survives a
power cut. (`NORMAL` does not promise that: a cut may take back the last transactions.) The migrations only ever add,
so that the release before still runs on the database of the next one.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

from appliance.errors import DatabaseError

FILE_NAME = "appliance.db"
_MIGRATIONS = "appliance.store_forward.sql.migrations"
_BUSY_SECONDS = 30.0
_BUSY_PAUSE_SECONDS = 0.01


def open_database(data: Path, *, read_only: bool = False, busy_seconds: float = _BUSY_SECONDS) -> sqlite3.Connection:
    """A connection to `data/appliance.db` in autocommit mode, rows by name; creates and migrates it unless read-only.

    A lock that another process holds is waited for `busy_seconds`. Use it in one thread. Write inside
    `with transaction(connection):`. Raises DatabaseError.
    """
    path = data / FILE_NAME
    address = f"file:{_quoted(path)}?mode={'ro' if read_only else 'rwc'}"
    with contextlib.ExitStack() as on_error:
        try:
            connection = sqlite3.connect(address, uri=True, timeout=busy_seconds, isolation_level=None)
            on_error.callback(connection.close)
            _prepare(connection, read_only, busy_seconds)
            if not read_only:
                migrate(connection)
        except (sqlite3.Error, OSError) as error:
            raise DatabaseError(f"{path} can't be opened: {error}") from error
        on_error.pop_all()
    return connection


def _prepare(connection: sqlite3.Connection, read_only: bool, busy_seconds: float) -> None:
    connection.row_factory = sqlite3.Row
    if not read_only:
        _use_wal(connection, busy_seconds)
        connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")


def _use_wal(connection: sqlite3.Connection, busy_seconds: float) -> None:
    """Waits for its turn: of processes that make a new database at once, SQLite tells all but one "locked" at once.

    Its busy timeout does not hold here, as to wait with a shared lock for an exclusive one might be for ever.
    """
    give_up = time.monotonic() + busy_seconds
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                raise
            time.sleep(_BUSY_PAUSE_SECONDS)
        else:
            return


def _quoted(path: Path) -> str:
    return str(path.absolute()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """BEGIN IMMEDIATE … COMMIT; rolls back on any exception. It is durable when the block has ended without one."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    try:
        connection.execute("COMMIT")
    except sqlite3.Error:
        if connection.in_transaction:  # a full disk leaves it open; nothing of it is durable
            connection.execute("ROLLBACK")
        raise


def migrations() -> list[tuple[int, str]]:
    """Every migration as (number, SQL text), in order."""
    return sorted(
        (int(match.group(1)), entry.read_text("utf-8"))
        for entry in resources.files(_MIGRATIONS).iterdir()
        if (match := re.fullmatch(r"(\d{4})_\w+\.sql", entry.name))
    )


def migrate(connection: sqlite3.Connection, *, upto: int | None = None) -> None:
    """Applies the migrations that the database lacks, each with its number in one transaction.

    A database of a later release is left as it is: later migrations only add.
    """
    for number, text in migrations():
        if upto is not None and number > upto:
            return
        if _version(connection) >= number:
            continue
        with transaction(connection):
            if _version(connection) < number:  # another process may have been first
                for statement in _statements(text):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {number:d}")


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _statements(text: str) -> Iterator[str]:
    """Splits at the semicolons that end a statement, as SQLite itself sees them (a trigger holds inner ones)."""
    pending = ""
    for line in text.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            yield pending
            pending = ""
