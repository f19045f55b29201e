"""An archive with instances in it, and what gives them out: index, store, workers, all real."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec
from sqlalchemy import update
from support import filed
from support.hub import hub_config

from appliance.clock import now_ms
from appliance.compress.pool import WorkerPool
from appliance.config import Compress, HubConfig, Objects
from appliance.hub.index import studies
from appliance.hub.index.database import Index
from appliance.hub.index.studies import StoredInstance
from appliance.hub.index.tables import instance as instance_table
from appliance.hub.objects.directory import DirectoryStore
from appliance.hub.objects.keys import key_of
from appliance.hub.renditions.renditions import Renditions
from appliance.part10.meta import read_prefix

ALL = 1 << 40


class Archive:
    """One hub's data directory. `renditions` is a process's door to it; `door` makes further ones."""

    def __init__(
        self, data: Path, *, renditions_bytes: int = ALL, compress: Compress | None = None, index: Index | None = None
    ) -> None:
        self.data, self.now = data, 1_000_000_000_000
        self.config: HubConfig = msgspec.structs.replace(
            hub_config(data, compress or Compress(workers=2)), objects=Objects(renditions_bytes=renditions_bytes)
        )
        self.index = index or filed.new_index(data, "a")
        self.store = DirectoryStore(data)
        self.pool = WorkerPool(self.config.compress)
        self.renditions = self.door()

    @classmethod
    def reopened(cls, data: Path) -> Archive:
        """What another process left."""
        archive = cls(data, index=Index.open(hub_config(data)))
        archive.now = now_ms()
        return archive

    def stored(self) -> list[StoredInstance]:
        """All instances."""
        with self.index.read() as connection:
            return studies.stored_after(connection, 0, 10_000)

    def __enter__(self) -> Archive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.renditions.close()
        self.pool.close()
        self.index.close()

    def door(self, **changed: Any) -> Renditions:
        """As another process would have it."""
        index: Index = changed.pop("index", self.index)
        store = changed.pop("store", self.store)
        clock: Callable[[], int] = changed.pop("clock", lambda: self.now)
        return Renditions(index, store, self.pool, self.config, clock=clock, **changed)

    def add(self, content: bytes, number: int = 1) -> StoredInstance:
        """Archives a Part 10 file as it is."""
        filed.file(self.index, "a", filed.header(number=number), now=9_000 + number)
        source = self.data / "incoming"
        source.write_bytes(content)
        with source.open("rb") as file:
            syntax = read_prefix(file)[0].transfer_syntax_uid
        key = key_of(hashlib.sha256(f"stored {number}".encode()).hexdigest()[:32], 0, "dcm")
        self.store.put([(key, source)])
        values = {
            "transfer_syntax_uid": syntax,
            "stored_key": key,
            "stored_digest": hashlib.sha256(content).digest(),
            "stored_bytes": len(content),
        }
        mine = instance_table.c.sop_instance_uid == f"1.2.1.1.{number}"
        with self.index.write() as connection:
            connection.execute(update(instance_table).where(mine).values(values))
        return next(one for one in self.stored() if one.stored_key == key)

    def get(self, instance: StoredInstance, *accepted: str, door: Renditions | None = None) -> tuple[str, bytes]:
        """Transfer syntax and all bytes."""
        with (door or self.renditions).open(instance, accepted) as opened:
            content = b"".join(opened.pieces())
            assert len(content) == opened.bytes
            return opened.transfer_syntax_uid, content

    def objects(self) -> set[str]:
        """The keys of all objects in the store."""
        return {str(path.relative_to(self.data)) for path in (self.data / "archive").rglob("*") if path.is_file()}
