"""A unit of which only `forward` runs: its data directory, real parcels in its queue, and the process in a thread."""

from __future__ import annotations

import contextlib
import hashlib
import random
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support import rows, tiny_instances
from support.hub import part10
from support.tiny_instances import TinyInstance, element

from appliance.compress.pool import WorkerPool
from appliance.compress.values import PackedParcel, ParcelContext, Source
from appliance.config import Compress, Link, Site, Storage, UnitConfig, Uplink
from appliance.model.priority import Priority
from appliance.model.states import InstanceEvent
from appliance.store_forward import forward
from appliance.store_forward.database import FILE_NAME, open_database, transaction
from appliance.store_forward.queue import move_instances

PATIENCE = 60.0


def noise(study: int, number: int, size: int) -> TinyInstance:
    """An instance whose parcel is about `size` bytes: its pixels do not compress."""
    tiny = tiny_instances.make(study, number, side=2)
    pixels = random.Random(f"{study}/{number}").randbytes(size // 2 * 2)
    return TinyInstance(tiny.sop_instance_uid, tiny.data[: -(12 + 8)] + element(0x7FE00010, "OW", pixels))


@dataclass(frozen=True)
class Packed:
    """A parcel on the disk."""

    study: int
    priority: Priority
    instances: list[TinyInstance]
    path: Path
    parcel: PackedParcel


@dataclass
class SendingUnit:
    """`uplink`: keys of [hub] beside its address and secret. `link`: the section of that name."""

    data: Path
    url: str
    secret: str
    uplink: dict[str, Any] = field(default_factory=dict)
    link: Link = field(default_factory=Link)

    def __post_init__(self) -> None:
        for name in ("parcels", "spool"):
            (self.data / name).mkdir(parents=True, exist_ok=True)
        self.secret_file = self.data / "secret"
        self.secret_file.write_text(self.secret)
        self.secret_file.chmod(0o600)
        open_database(self.data).close()

    @property
    def config(self) -> UnitConfig:
        hub = {"url": self.url, "secret_file": str(self.secret_file), "stall_seconds": 3.0, "connect_seconds": 2.0}
        return UnitConfig(
            site=Site(id="site-1"),
            storage=Storage(data=str(self.data)),
            hub=Uplink(**(hub | self.uplink)),
            link=self.link,
        )

    @contextlib.contextmanager
    def database(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self.data / FILE_NAME, timeout=30, isolation_level=None)
        connection.row_factory = sqlite3.Row
        try:
            yield connection
        finally:
            connection.close()

    def value(self, sql: str, *values: Any) -> Any:
        with self.database() as connection:
            row = connection.execute(sql, values).fetchone()
            return None if row is None else row[0]

    def rows(self, sql: str, *values: Any) -> list[dict[str, Any]]:
        with self.database() as connection:
            return [dict(row) for row in connection.execute(sql, values)]

    def await_value(self, expected: Any, sql: str, *values: Any, seconds: float = PATIENCE) -> None:
        """Until the query says so."""
        self.await_true(lambda: self.value(sql, *values) == expected, f"{sql} is {expected!r}", seconds=seconds)

    def await_true(self, found: Callable[[], bool], what: str, *, seconds: float = PATIENCE) -> None:
        until = time.monotonic() + seconds
        while not found():
            assert time.monotonic() < until, f"not within {seconds} s: {what}"
            time.sleep(0.02)

    def pack(
        self,
        study: int,
        instances: Sequence[TinyInstance],
        *,
        priority: Priority = Priority.ROUTINE,
        plain: bool = False,
        dictionary: bytes | None = None,
        pool: WorkerPool | None = None,
    ) -> Packed:
        """Packs the instances as the packing process does, and leaves it there."""
        sources = [self._source(instance, plain) for instance in instances]
        context = ParcelContext(study_instance_uid=f"2.25.1.{study}", site="site-1", priority=priority)
        path = self.data / "parcels" / f"{secrets.token_hex(16)}.parcel"
        with contextlib.ExitStack() as stack:
            used = pool or stack.enter_context(WorkerPool(Compress(parcel_bytes=64 << 20)))
            parcel = used.pack(sources, context, dictionary, path)
        return Packed(study, priority, list(instances), path, parcel)

    def queue(self, packed: Packed, also: Callable[[sqlite3.Connection, int], object] | None = None) -> int:
        """Puts a packed parcel into the queue, with its instances; returns its id. `also`: what is done in the same
        transaction, with the id of the study.
        """
        with self.database() as connection, transaction(connection):
            study_id = self._study(connection, packed.study, packed.priority)
            ids = [self._instance(connection, study_id, i) for i in packed.instances]
            parcel = rows.add_parcel(
                connection,
                study_id,
                digest=packed.parcel.digest,
                bytes=packed.parcel.bytes,
                data_bytes=packed.parcel.data_bytes,
                instances=len(ids),
                file=packed.path.name,
            )
            move_instances(connection, ids, InstanceEvent.PACK)
            connection.executemany("UPDATE instance SET parcel_id = ? WHERE id = ?", [(parcel, i) for i in ids])
            if also is not None:
                also(connection, study_id)
        return parcel

    def add_parcel(self, study: int, instances: Sequence[TinyInstance], **values: Any) -> int:
        """Packs and queues; returns the parcel's id."""
        return self.queue(self.pack(study, instances, **values))

    def _source(self, instance: TinyInstance, plain: bool) -> Source:
        """The instance as the spool has it."""
        path = self.data / "spool" / f"{instance.sop_instance_uid}.dcm"
        path.write_bytes(part10(instance))
        return Source(
            path=path,
            data_offset=path.stat().st_size - len(instance.data),
            bytes=len(instance.data),
            digest=hashlib.sha256(instance.data).digest(),
            transfer_syntax_uid=instance.transfer_syntax_uid,
            sop_class_uid=instance.sop_class_uid,
            sop_instance_uid=instance.sop_instance_uid,
            received_at=1_000,
            calling_ae="CT1",
            plain=plain,
        )

    def _study(self, connection: sqlite3.Connection, study: int, priority: Priority) -> int:
        uid = f"2.25.1.{study}"
        row = connection.execute("SELECT id FROM study WHERE study_instance_uid = ?", (uid,)).fetchone()
        if row:
            return int(row["id"])
        now = int(time.time() * 1000)
        return rows.add_study(
            connection, study_instance_uid=uid, priority=int(priority), first_received_at=now, last_received_at=now
        )

    def _instance(self, connection: sqlite3.Connection, study_id: int, instance: TinyInstance) -> int:
        digest = hashlib.sha256(instance.data).digest()
        known = connection.execute(
            "SELECT id FROM instance WHERE sop_instance_uid = ? AND digest = ?", (instance.sop_instance_uid, digest)
        ).fetchone()
        if known:
            return int(known["id"])
        series = connection.execute("SELECT id FROM series WHERE study_id = ?", (study_id,)).fetchone()
        series_id = int(series["id"]) if series else rows.add_series(connection, study_id)
        return rows.add_instance(
            connection,
            study_id,
            series_id,
            sop_instance_uid=instance.sop_instance_uid,
            digest=digest,
            bytes=len(instance.data),
        )

    def await_delivered(self, *, seconds: float = PATIENCE) -> None:
        """Until every instance of this unit has its receipt."""
        sql = "SELECT count(*) FROM instance WHERE state <> 'delivered'"
        self.await_value(0, sql, seconds=seconds)

    @contextlib.contextmanager
    def forward(self) -> Iterator[None]:
        """The process, in a thread. It must end without an error when told to stop."""
        stop, errors = threading.Event(), []

        def work() -> None:
            try:
                forward.run(self.config, stop)
            except BaseException as error:  # noqa: BLE001 - told to the test below
                errors.append(error)

        thread = threading.Thread(target=work, name="forward")
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(20)
        assert not thread.is_alive(), "forward did not end"
        if errors:
            raise errors[0]
