"""Group commit: one thread makes what many associations received durable together.

An association syncs its own file (in parallel with the others) and hands it over. This thread takes all that wait,
with those whose sync is under way, renames them into one directory, syncs that directory once, commits one
transaction, and wakes them. So four modalities cost hardly more syncs than one. It is also the only thread of
`receive` that touches the database.
"""

from __future__ import annotations

import contextlib
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from appliance.errors import ApplianceError, DatabaseError, DiskFullError
from appliance.logs import get_logger
from appliance.store_forward.arrival import Arrival, Entry, Register
from appliance.store_forward.database import open_database, transaction
from appliance.store_forward.spool import Spool, directory_of, disk_error, remove

_NOTES_MAX: Final = 1000  # those who wait for an answer are as many as the associations, and need no ceiling here
_BATCH_MAX: Final = 128
_ANNOUNCED_SECONDS: Final = 0.003  # what is announced is awaited so long: an fsync of one image on a slow disk
_ASK_SECONDS: Final = 10.0
_TICK_SECONDS: Final = 2.0
_log = get_logger()
_T = TypeVar("_T")


def database_error(error: sqlite3.Error) -> ApplianceError:
    """What a failed statement means for a person."""
    name = getattr(error, "sqlite_errorname", type(error).__name__)  # absent when sqlite3 itself refuses
    if name == "SQLITE_FULL":
        return DiskFullError()
    return DatabaseError(f"The database can't be written ({name})")


@dataclass(slots=True, eq=False)
class _Waiting:
    """One arrival and the thread that waits for it."""

    arrival: Arrival
    file: str = ""
    entry: Entry | None = None
    error: ApplianceError | None = None
    done: threading.Lock = field(default_factory=threading.Lock)  # held until it is; an Event costs ten times as much


@dataclass(slots=True, eq=False)
class _Task:
    """Something else to do with the database, in a transaction of its own."""

    work: Callable[[sqlite3.Connection], Any]
    result: Any = None
    error: ApplianceError | None = None
    done: threading.Event = field(default_factory=threading.Event)


class Journal:
    """The writer thread. `tick` is called in it about every two seconds, in a transaction of its own."""

    def __init__(self, data: Path, spool: Spool, tick: Callable[[sqlite3.Connection], None]) -> None:
        self._data, self._spool, self._tick = data, spool, tick
        self._queue: queue.SimpleQueue[_Waiting | _Task | None] = queue.SimpleQueue()
        self._announced: set[object] = set()
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._opened = threading.Event()
        self._problem: ApplianceError | None = None

    def start(self) -> None:
        """Opens the database and starts. Raises DatabaseError."""
        self._thread.start()
        self._opened.wait()
        if self._problem:
            raise self._problem

    def stop(self) -> None:
        """Writes what was handed over, then ends. Nobody may hand over more."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()

    @property
    def alive(self) -> bool:
        """False when the thread died, which must end the process."""
        return self._thread.is_alive()

    def store(self, arrival: Arrival) -> Entry:
        """Returns once the instance is durable, name and row. Raises ApplianceError when it is not, and is gone."""
        return self._await(self._hand_over(arrival))

    def seal_and_store(self, seal: Callable[[], Arrival]) -> Entry:
        """The same of what `seal` returns. A batch that is being gathered meanwhile waits a little for it."""
        mark = object()
        self._announced.add(mark)
        try:
            waiting = self._hand_over(seal())
        finally:
            self._announced.discard(mark)
        return self._await(waiting)

    def _hand_over(self, arrival: Arrival) -> _Waiting:
        waiting = _Waiting(arrival)
        waiting.done.acquire()
        self._queue.put(waiting)
        return waiting

    def _await(self, waiting: _Waiting) -> Entry:
        while not waiting.done.acquire(timeout=1.0):
            if not self.alive:
                raise DatabaseError("The receiver is ending")
        if waiting.error or waiting.entry is None:
            raise waiting.error or DatabaseError("The receiver is ending")
        return waiting.entry

    def ask(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """What `work` returns, done in a transaction of its own. Raises DatabaseError when it fails or takes long."""
        task = _Task(work)
        self._queue.put(task)
        if not task.done.wait(_ASK_SECONDS):
            raise DatabaseError("The database is busy")
        if task.error:
            raise task.error
        result: _T = task.result
        return result

    def note(self, work: Callable[[sqlite3.Connection], object]) -> None:
        """Does `work` some time soon, if it can be done: for counters that nobody's safety hangs on."""
        if self._queue.qsize() < _NOTES_MAX:
            self._queue.put(_Task(work))

    def _run(self) -> None:
        try:
            connection = open_database(self._data)
        except ApplianceError as error:
            self._problem = error
            return
        finally:
            self._opened.set()
        with contextlib.closing(connection):
            self._serve(connection, Register(connection, self._spool))

    def _serve(self, connection: sqlite3.Connection, register: Register) -> None:
        items: list[_Waiting | _Task | None] = []
        next_tick = 0.0
        while None not in items:
            if time.monotonic() >= next_tick:
                self._do(connection, _Task(self._tick))
                next_tick = time.monotonic() + _TICK_SECONDS
            items = self._take(next_tick)
            arrivals = [item for item in items if isinstance(item, _Waiting)]
            if arrivals:
                self._commit(connection, register, arrivals)
            for item in items:
                if isinstance(item, _Task):
                    self._do(connection, item)

    def _take(self, until: float) -> list[_Waiting | _Task | None]:
        """What waits now and what is announced, at most a batch; empty when nothing came until then."""
        items: list[_Waiting | _Task | None] = []
        with contextlib.suppress(queue.Empty):
            items.append(self._queue.get(timeout=max(0.0, until - time.monotonic())))
            gather_until = time.monotonic() + _ANNOUNCED_SECONDS
            while len(items) < _BATCH_MAX and items[-1] is not None:
                wait = gather_until - time.monotonic() if self._announced else 0.0
                items.append(self._queue.get(timeout=wait) if wait > 0 else self._queue.get_nowait())
        return items

    def _do(self, connection: sqlite3.Connection, task: _Task) -> None:
        try:
            with transaction(connection):
                task.result = task.work(connection)
        except sqlite3.Error as error:
            task.error = database_error(error)
        except ApplianceError as error:
            task.error = error
        task.done.set()

    def _commit(self, connection: sqlite3.Connection, register: Register, batch: list[_Waiting]) -> None:
        """All of the batch together; when that fails, each alone, so that one can't take the others down."""
        try:
            self._commit_together(connection, register, self._placed(register, batch))
        except (sqlite3.Error, OSError) as error:
            problem = database_error(error) if isinstance(error, sqlite3.Error) else disk_error(error)
            register.forget()
            for waiting in batch:
                waiting.error = waiting.error or problem
        for waiting in batch:
            self._clean(waiting)
            waiting.done.release()

    def _placed(self, register: Register, batch: list[_Waiting]) -> list[_Waiting]:
        """Renames each into the directory of the moment and makes the names durable; without those that failed."""
        directory = directory_of(register.last_id())
        for waiting in batch:
            try:
                waiting.file = self._spool.place(waiting.arrival.sealed, directory)
            except OSError as error:
                waiting.error = disk_error(error)
        self._spool.sync(directory)
        return [waiting for waiting in batch if not waiting.error]

    def _commit_together(self, connection: sqlite3.Connection, register: Register, placed: list[_Waiting]) -> None:
        try:
            with transaction(connection):
                entries = [register.add(waiting.arrival, waiting.file) for waiting in placed]
                register.finish()
        except sqlite3.Error:
            register.forget()
            if len(placed) < 2:
                raise
            for waiting in placed:
                self._commit_alone(connection, register, waiting)
            return
        for waiting, entry in zip(placed, entries, strict=True):
            waiting.entry = entry

    def _commit_alone(self, connection: sqlite3.Connection, register: Register, waiting: _Waiting) -> None:
        try:
            with transaction(connection):
                entry = register.add(waiting.arrival, waiting.file)
                register.finish()
        except sqlite3.Error as error:
            register.forget()
            waiting.error = database_error(error)
            return
        waiting.entry = entry

    def _clean(self, waiting: _Waiting) -> None:
        """Removes the file that no row names: that of a failed arrival, a duplicate, or the damaged copy."""
        if waiting.error:
            remove(waiting.arrival.sealed.path)
            if waiting.file:
                remove(self._spool.path(waiting.file))
        elif waiting.entry and waiting.entry.unneeded:
            remove(self._spool.path(waiting.entry.unneeded))
