"""Opening, migrating and using the index.

SQLite runs with WAL and `synchronous=FULL`: a COMMIT returns only after the log was fsynced, so an offset or a receipt
that was committed survives a power cut. Writers begin with the write lock (`BEGIN IMMEDIATE`), so that what a
transaction read is still so when it writes. No other statement of the index is SQLite's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import sqlalchemy
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, event, exc, make_url

from appliance.config import HubConfig
from appliance.errors import ConfigError, DatabaseError, DiskFullError

FILE_NAME: Final = "hub.db"
MIGRATIONS: Final = "appliance.hub:migrations"
_BUSY_SECONDS: Final = 30.0
_WRITES: Final = "appliance_writes"


def url_of(config: HubConfig) -> sqlalchemy.URL:
    """Where the index is: `hub.database_url`, or a file in the data directory. Raises ConfigError."""
    if not config.hub.database_url:
        return sqlalchemy.URL.create("sqlite", database=str(config.data / FILE_NAME))
    try:
        return make_url(config.hub.database_url)
    except exc.ArgumentError as error:
        raise ConfigError("hub.database_url is not a database URL") from error


def make_data_directory(data: Path) -> None:
    """Makes the hub's data directory, closed to others. Raises DatabaseError."""
    try:
        data.mkdir(mode=0o750, parents=True, exist_ok=True)
    except OSError as error:
        raise DatabaseError(f"{data} can't be made: {error.strerror}") from error


class Index:
    """A pool of connections to the index. Safe to use from many threads."""

    def __init__(self, url: sqlalchemy.URL) -> None:
        self._engine = _engine(url)

    @classmethod
    def open(cls, config: HubConfig) -> Index:
        """Opens the index of this hub; makes and migrates it when needed. Raises ConfigError, DatabaseError."""
        make_data_directory(config.data)
        index = cls(url_of(config))
        index.migrate()
        return index

    def migrate(self, revision: str = "head") -> None:
        """Brings the tables up to `revision`. Two processes at once: the second waits, and finds nothing to do."""
        config = Config()
        config.set_main_option("script_location", MIGRATIONS)
        with self.write() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, revision)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One consistent view. Raises DatabaseError."""
        with _translated(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction; durable when the block has ended without an exception. Raises DatabaseError, DiskFullError.

        `sqlalchemy.exc.IntegrityError` passes: it tells the caller that another writer was first.
        """
        with _translated(), self._engine.connect() as connection:
            connection.execution_options(**{_WRITES: True})
            with connection.begin():
                yield connection

    def close(self) -> None:
        """Closes the idle connections; with SQLite the log is written back."""
        self._engine.dispose()


def _engine(url: sqlalchemy.URL) -> Engine:
    if url.get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True)
    engine = create_engine(url, connect_args={"timeout": _BUSY_SECONDS}, pool_size=8, max_overflow=32)
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _set_up_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # the driver begins nothing by itself; `_begin_sqlite` does
    cursor = connection.cursor()
    for pragma in ("busy_timeout = 30000", "journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def _translated() -> Iterator[None]:
    """The driver's errors as ours. The message never repeats the statement: its values may be patient data."""
    try:
        yield
    except exc.IntegrityError:
        raise
    except exc.DBAPIError as error:
        problem = str(error.orig)
        if "full" in problem:  # SQLITE_FULL, "database or disk is full"
            raise DiskFullError("The hub's disk is full: its index can't be written") from error
        raise DatabaseError(f"The hub's index can't be used: {problem}") from error
    except exc.SQLAlchemyError as error:
        raise DatabaseError(f"The hub's index can't be used: {type(error).__name__}") from error
