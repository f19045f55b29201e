"""A unit's data directory and a packing process inside the test's own, on a real queue with real workers."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support import rows
from support.images import Image, data_set, write_source

from appliance.compress.pool import WorkerPool
from appliance.config import Compress, Storage, UnitConfig
from appliance.store_forward.database import open_database
from appliance.store_forward.packing import Packing

IMAGE = Image(32, 32)
GOOD = bytes(range(256)) * 8


class Unit:
    """A unit's data directory, and a packing process in this one."""

    def __init__(self, data: Path, **limits: Any) -> None:
        self.data = data
        for name in ("spool/00", "parcels"):
            (data / name).mkdir(parents=True, exist_ok=True)
        self.config = UnitConfig(storage=Storage(data=str(data)), compress=Compress(**({"cpu_seconds": 2} | limits)))
        self.db = open_database(data)
        self.numbers = iter(range(1, 10_000))
        self.packing: Packing | None = None

    def start(self, jobs: str = "appliance.compress.jobs") -> Packing:
        """As after a restart of the process."""
        if self.packing:
            self.packing.close()
        self.packing = Packing(self.config, self.db, WorkerPool(self.config.compress, jobs=jobs))
        self.packing.recover()
        return self.packing

    def close(self) -> None:
        if self.packing:
            self.packing.close()
        self.db.close()

    def study(self, **values: Any) -> tuple[int, int]:
        study = rows.add_study(self.db, **values)
        return study, rows.add_series(self.db, study)

    def receive(self, study: tuple[int, int], content: bytes = GOOD, *, before: bytes = b"", **values: Any) -> int:
        number = next(self.numbers)
        file = f"00/{number:032x}.dcm"
        source = write_source(
            self.data / "spool" / file, before + data_set(IMAGE, content, number=number), number=number
        )
        facts = {
            "digest": source.digest,
            "bytes": source.bytes,
            "sop_class_uid": source.sop_class_uid,
            "sop_instance_uid": source.sop_instance_uid,
            "file": file,
        }
        return rows.add_instance(self.db, *study, **(facts | values))

    def until(self, done: Callable[[], bool]) -> None:
        assert self.packing
        deadline = time.monotonic() + 60
        while not done():
            assert time.monotonic() < deadline, [dict(row) for row in self.db.execute("SELECT * FROM instance")]
            self.packing.turn()

    def pack_all(self) -> None:
        self.until(lambda: not self.one("SELECT count(*) FROM instance WHERE state = 'received'"))

    def one(self, query: str, *values: Any) -> Any:
        return self.db.execute(query, values).fetchone()[0]

    def all(self, query: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in self.db.execute(query)]

    def files(self) -> set[str]:
        return {path.name for path in (self.data / "parcels").iterdir()}
