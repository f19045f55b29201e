"""The process that packs: takes what waits in the queue, has it packed in sandboxed workers, and queues the parcels.

It has no network. Foreign bytes are touched in workers alone (`compress.pool`); here are only rows and file names.
One thread, this one, uses the database; the others wait for a worker each. A disk that takes nothing more makes the
process wait, never end.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Final

import zstandard

from appliance.clock import now_ms
from appliance.compress.faults import (
    DamagedSourceError,
    PackingFailedError,
    PoolClosedError,
    UnreadableSourceError,
)
from appliance.compress.pool import WorkerPool
from appliance.compress.values import PackedParcel, ParcelContext
from appliance.config import UnitConfig
from appliance.errors import ApplianceError, DiskFullError, SpoolError, UnreadableFileError
from appliance.logs import get_logger
from appliance.model.priority import Priority
from appliance.model.states import InstanceEvent, ParcelEvent, ParcelState
from appliance.named_sql import NamedSql
from appliance.store_forward import wishes
from appliance.store_forward.batch import Batch, is_plain, size_of, source_of
from appliance.store_forward.batches import Line, Waiting, lingers, may_pack
from appliance.store_forward.database import open_database, transaction
from appliance.store_forward.full_disk import WAITING, Wait, insist
from appliance.store_forward.journal import database_error
from appliance.store_forward.queue import beat, move_instances, move_parcel, record_event
from appliance.store_forward.retention import Retention
from appliance.store_forward.spool import disk_error, sync_directory
from appliance.store_forward.unreadable import Resting
from appliance.systemd import notify

_SQL: Final = NamedSql("appliance.store_forward.sql", "pack.sql")
_LOOK_SECONDS: Final = 0.1
_BEAT_SECONDS: Final = 2.0
_LINE_SECONDS: Final = 1.0
_DISK_PAUSE_SECONDS: Final = 5.0
_STUDIES: Final = 32  # looked at in one go; the first that may be packed is
_RAW_ENOUGH: Final = 4  # times a parcel's size that unpacked bytes are surely enough to fill one
_HEADER_MAX: Final = 1 << 20
_LOCK: Final = "compress.lock"
_log = get_logger()


class Packing:
    """Everything of the process but its loop."""

    def __init__(self, config: UnitConfig, connection: sqlite3.Connection, pool: WorkerPool) -> None:
        self._config, self._db, self._pool = config, connection, pool
        self._spool = config.data / "spool"
        self._parcels = config.data / "parcels"
        # One more than there are workers, for a stat study that comes while all are busy.
        self._threads = ThreadPoolExecutor(config.compress.workers + 1, thread_name_prefix="packing")
        self._busy: dict[Future[PackedParcel], Batch] = {}
        self._pause_until = self._line_until = 0.0
        self._known_line = Line(parcels=0, bytes=0)
        self._retention = Retention(config, connection)
        self._writing = Wait("a parcel")
        self._resting = Resting()

    # ------------------------------------------------------------ start and end

    def recover(self) -> None:
        """What a power cut may leave: files without a row go; a parcel whose file is gone is packed anew."""
        rows = self._db.execute(_SQL["parcel_files"]).fetchall()
        present = {entry.name for entry in os.scandir(self._parcels)}
        for name in present - {row["file"] for row in rows} - {_LOCK}:
            (self._parcels / name).unlink()
        for row in rows:
            if row["file"] not in present and row["state"] in {ParcelState.BUILT, ParcelState.OPEN}:
                self._pack_anew(row["id"], row["study_id"])

    def _pack_anew(self, parcel_id: int, study_id: int) -> None:
        with transaction(self._db):
            ids = [row["id"] for row in self._db.execute(_SQL["packed_of_parcel"], {"id": parcel_id})]
            move_parcel(self._db, parcel_id, ParcelEvent.REFUSE)
            move_instances(self._db, ids, InstanceEvent.UNPACK)
            record_event(self._db, study_id, now_ms(), "packed_anew", len(ids))
        _log.warning("parcel_file_lost", parcel=parcel_id, count=len(ids))

    def close(self) -> None:
        """Ends the workers; what they had not finished is packed after the next start."""
        self._pool.close()
        self._threads.shutdown(wait=True)
        for batch in self._busy.values():
            batch.out.unlink(missing_ok=True)

    # ------------------------------------------------------------ the loop's turn

    def turn(self) -> None:
        """Queues what is finished, gives the free workers work, removes what has expired; waits a moment at most."""
        if self._busy:
            for future in wait(self._busy, timeout=_LOOK_SECONDS, return_when=FIRST_COMPLETED).done:
                self._settle(future, self._busy.pop(future))
        if time.monotonic() >= self._pause_until:
            self._wake()
            while batch := self._next():
                self._busy[self._threads.submit(self._pack, batch)] = batch
        self._retention.turn()
        if not self._busy:
            time.sleep(_LOOK_SECONDS)

    @property
    def status(self) -> str:
        """For the heartbeat."""
        if time.monotonic() < self._pause_until:
            return WAITING
        if self._resting.reason:
            return f"can't read a received file: {self._resting.reason}"
        count = sum(len(batch.rows) for batch in self._busy.values())
        return f"packing {count} instances" if count else "idle"

    @property
    def problem(self) -> str:
        """For the heartbeat: the id of the error that keeps something from being packed, or empty."""
        return UnreadableFileError.id if self._resting.reason else ""

    def _pack(self, batch: Batch) -> PackedParcel:
        return self._pool.pack(batch.sources, batch.context, batch.dictionary, batch.out)

    # ------------------------------------------------------------ what next

    def _next(self) -> Batch | None:
        """The next batch for a free worker, if there is one."""
        for study in self._db.execute(_SQL["studies_to_pack"], {"limit": _STUDIES}).fetchall():
            priority = Priority(study["priority"])
            if not self._has_worker(priority):
                return None
            line = self._line()
            if not may_pack(priority, line, self._config.compress.ahead_bytes):
                continue
            rows = self._waiting(study["id"])
            if rows and not self._lingers(study, rows, line) and (batch := self._batch(study, rows)):
                return batch
        return None

    def _wake(self) -> None:
        """Forgets of those that rest what is no longer to be packed: it came again, or went another way."""
        if self._resting.all:
            ids = set(self._resting.all)
            rows = self._db.execute(_SQL["waiting_of"], {"ids": json.dumps(list(ids))})
            self._resting.forget(ids - {row["id"] for row in rows})

    def _line(self) -> Line:
        """As it was within the last second: after a long outage there are many studies to add up."""
        if time.monotonic() >= self._line_until:
            row = self._db.execute(_SQL["line"]).fetchone()
            self._known_line = Line(parcels=row["parcels"], bytes=row["bytes"], up=bool(row["up"]))
            self._line_until = time.monotonic() + _LINE_SECONDS
        return self._known_line

    def _has_worker(self, priority: Priority) -> bool:
        return len(self._busy) < self._config.compress.workers + (priority is Priority.STAT)

    def _waiting(self, study_id: int) -> list[sqlite3.Row]:
        busy = [row["id"] for batch in self._busy.values() for row in batch.rows]
        busy += self._resting.at(time.monotonic())
        values = {
            "study_id": study_id,
            "busy": json.dumps(busy),
            "only": json.dumps(list(self._resting.all)) if self._resting.too_many else None,
            "first": json.dumps(wishes.packed_first(self._db, study_id)),
            "limit": self._config.compress.parcel_instances,
        }
        rows = self._db.execute(_SQL["waiting"], values).fetchall()
        # Those that failed are packed apart: should another instance have made them fail, it can't do so again; and
        # those that could not be read can't keep others here.
        return [row for row in rows if self._kind(row) == self._kind(rows[0])]

    def _kind(self, row: sqlite3.Row) -> tuple[bool, bool]:
        return is_plain(row), row["id"] in self._resting.all

    def _lingers(self, study: sqlite3.Row, rows: Sequence[sqlite3.Row], line: Line) -> bool:
        header = self._db.execute(_SQL["latest_header"], {"series_id": rows[0]["series_id"]}).fetchone()
        header_bytes = zstandard.frame_content_size(header["header"]) if header else 0
        waiting = Waiting(
            priority=Priority(study["priority"]),
            last_received_at=study["last_received_at"],
            oldest_received_at=min(row["received_at"] for row in rows),
            instances=len(rows),
            bytes=sum(max(0, row["bytes"] - header_bytes) for row in rows),
            header_awaited=header is not None and header["acknowledged_at"] is None,
        )
        limits = self._config.compress
        return lingers(
            waiting,
            line,
            now_ms(),
            instances_max=limits.parcel_instances,
            bytes_enough=limits.parcel_bytes * _RAW_ENOUGH,
        )

    def _batch(self, study: sqlite3.Row, waiting: Sequence[sqlite3.Row]) -> Batch | None:
        """Of these, what can be read; None when nothing can."""
        sizes = self._sizes(waiting)
        rows = [row for row in waiting if row["id"] in sizes]
        if not rows:
            return None
        keep = self._to_keep(rows)
        return Batch(
            study_id=study["id"],
            context=ParcelContext(
                study_instance_uid=study["study_instance_uid"],
                site=self._config.site.id,
                priority=Priority(study["priority"]),
            ),
            rows=tuple(rows),
            sources=tuple(source_of(self._spool, row, sizes[row["id"]], keep_header=row["id"] in keep) for row in rows),
            dictionary=self._dictionary(rows[0]["series_id"]),
            out=self._parcels / f"{secrets.token_hex(16)}.parcel",
        )

    def _sizes(self, rows: Sequence[sqlite3.Row]) -> dict[int, int]:
        """Bytes of the files that can be opened, by instance; the others rest."""
        found: dict[int, int] = {}
        for row in rows:
            try:
                found[row["id"]] = size_of(self._spool / row["file"])
            except OSError as error:
                self._rest(row, error)
                if self._resting.too_many:
                    break
        return found

    def _to_keep(self, rows: Sequence[sqlite3.Row]) -> set[int]:
        """The first instance of each series that has no dictionary yet."""
        first: dict[int, int] = {}
        for row in rows:
            if not is_plain(row):
                first.setdefault(row["series_id"], row["id"])
        return {
            instance
            for series, instance in first.items()
            if self._db.execute(_SQL["has_dictionary"], {"series_id": series}).fetchone() is None
        }

    def _dictionary(self, series_id: int) -> bytes | None:
        row = self._db.execute(_SQL["dictionary"], {"series_id": series_id}).fetchone()
        return zstandard.ZstdDecompressor().decompress(row["header"], max_output_size=_HEADER_MAX) if row else None

    # ------------------------------------------------------------ what became of it

    def _settle(self, future: Future[PackedParcel], batch: Batch) -> None:
        try:
            packed = future.result()
        except PoolClosedError:
            return
        except DamagedSourceError as error:
            self._quarantine(batch.rows[error.index], error)
        except UnreadableSourceError as error:
            self._rest(batch.rows[error.index], OSError(error.error_number, ""))
        except PackingFailedError as error:
            self._blame(batch.rows[error.index], error)
        except DiskFullError as error:
            self.wait_for_the_disk(error)
        except OSError as error:
            self.wait_for_the_disk(disk_error(error))
        else:
            self._writing.end()
            self._queue(batch, packed)

    def _queue(self, batch: Batch, packed: PackedParcel) -> None:
        """Commits the parcel, unless one of its instances went another way meanwhile."""
        ids = [row["id"] for row in batch.rows[: packed.instances]]
        queued = False
        self._resting.forget(ids)
        try:
            with transaction(self._db):
                waiting = self._db.execute(_SQL["still_waiting"], {"ids": json.dumps(ids)}).fetchone()[0]
                if waiting == len(ids):
                    self._add(batch, packed, ids, now_ms())
            queued = waiting == len(ids)
        finally:
            if not queued:
                batch.out.unlink(missing_ok=True)

    def _add(self, batch: Batch, packed: PackedParcel, ids: list[int], now: int) -> None:
        parcel = {
            "study_id": batch.study_id,
            "digest": packed.digest,
            "bytes": packed.bytes,
            "data_bytes": packed.data_bytes,
            "instances": packed.instances,
            "file": batch.out.name,
            "now": now,
            "preview_bytes": packed.preview_bytes,
        }
        self._line_until = 0.0  # it has one more now
        parcel_id = self._db.execute(_SQL["add_parcel"], parcel).lastrowid
        self._db.execute(_SQL["put_into_parcel"], {"ids": json.dumps(ids), "parcel_id": parcel_id})
        wishes.apply(self._db, batch.study_id, now)
        move_instances(self._db, ids, InstanceEvent.PACK)
        for header in packed.headers:
            values = {
                "series_id": batch.rows[header.index]["series_id"],
                "parcel_id": parcel_id,
                "digest": header.digest,
                "header": zstandard.ZstdCompressor().compress(header.header),
            }
            self._db.execute(_SQL["add_dictionary"], values)
        event = {"study_id": batch.study_id, "now": now, "count": len(ids)}
        if not self._db.execute(_SQL["extend_event"], event).rowcount:
            record_event(self._db, batch.study_id, now, "packed", len(ids))

    def _blame(self, row: sqlite3.Row, error: PackingFailedError) -> None:
        """Once: it goes plain. Again: a person must help."""
        _log.warning("packing_failed", instance=row["id"], reason=error.reason, attempt=row["pack_failures"] + 1)
        if is_plain(row):
            self._quarantine(row, error)
            return
        with transaction(self._db):
            self._db.execute(_SQL["count_failure"], {"id": row["id"]})

    def _quarantine(self, row: sqlite3.Row, error: ApplianceError) -> None:
        with transaction(self._db):
            found = self._db.execute(_SQL["failing"], {"id": row["id"], "file": row["file"]}).fetchone()
            if found is None:
                return
            self._db.execute(_SQL["set_reason"], {"id": row["id"], "reason": error.id})
            move_instances(self._db, [row["id"]], InstanceEvent.QUARANTINE)
            record_event(self._db, found["study_id"], now_ms(), "quarantined", 1, error.id)
        _log.error("quarantined", instance=row["id"], error_id=error.id)

    def _rest(self, row: sqlite3.Row, error: OSError) -> None:
        """Its file is there and can't be read now: it is tried again later, the others go on."""
        self._resting.note(row["id"], error, time.monotonic(), chance=random.random())  # noqa: S311 - jitter

    def wait_for_the_disk(self, error: ApplianceError) -> None:
        """A file could not be written or looked at: pauses, and says so."""
        self._writing.begin(error)
        self.pause()

    def pause(self) -> None:
        """Packs nothing for some seconds: what could not be written is packed again then."""
        self._pause_until = time.monotonic() + _DISK_PAUSE_SECONDS


@contextlib.contextmanager
def _alone(parcels: Path) -> Iterator[None]:
    """Only one packing process may use a data directory."""
    try:
        parcels.mkdir(mode=0o750, parents=True, exist_ok=True)
        sync_directory(parcels.parent)
        lock = os.open(parcels / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise disk_error(error) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise SpoolError("Another `appliance compress` uses this data directory", hint="End it first.") from error
    finally:
        os.close(lock)


def run(config: UnitConfig, stop: threading.Event) -> None:
    """Packs until `stop` is set. Raises ApplianceError when it can't go on."""
    try:
        with (
            _alone(config.data / "parcels"),
            contextlib.ExitStack() as stack,
            WorkerPool(config.compress) as pool,
        ):
            connection = insist(lambda: open_database(config.data), stop)
            if connection is None:
                return
            stack.callback(connection.close)
            packing = Packing(config, connection, pool)
            pool.prepare()
            notify("READY=1", "STATUS=packing")
            try:
                _serve(packing, connection, stop)
            finally:
                notify("STOPPING=1")
                packing.close()
    except sqlite3.Error as error:
        raise database_error(error) from error


def _serve(packing: Packing, connection: sqlite3.Connection, stop: threading.Event) -> None:
    recovered, next_beat, writing = False, 0.0, Wait("the queue")
    while not stop.is_set():
        try:
            if not recovered:
                packing.recover()
                recovered = True
            packing.turn()
            if time.monotonic() >= next_beat:
                next_beat = time.monotonic() + _BEAT_SECONDS
                with transaction(connection):
                    beat(connection, "compress", now_ms(), packing.status, packing.problem)
                writing.end()
                notify("WATCHDOG=1", f"STATUS={packing.status}")
        except sqlite3.OperationalError as error:  # the disk is full, mostly; a damaged database is another error
            writing.begin(database_error(error))
            packing.pause()
            stop.wait(_LOOK_SECONDS)
        except OSError as error:
            packing.wait_for_the_disk(disk_error(error))
            stop.wait(_LOOK_SECONDS)
