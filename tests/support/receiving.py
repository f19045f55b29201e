"""A receiver on loopback for tests: in this process, or in one of its own."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from appliance.config import MIB, Dicom, Modality, Storage, Study, UnitConfig
from appliance.store_forward.database import open_database
from appliance.store_forward.receive import Receiver

EVERYONE: Final = Modality(name="Test", ae_title="TEST", network="127.0.0.0/8")


def unit_config(data: Path, *, reserve_bytes: int = MIB, settle_seconds: float = 120.0, **dicom: Any) -> UnitConfig:
    """A unit that takes `TEST` from all of loopback on a port of the system's choice; `dicom` overrides that."""
    values: dict[str, Any] = {"port": 0, "modalities": (EVERYONE,), **dicom}
    return UnitConfig(
        storage=Storage(data=str(data), reserve_bytes=reserve_bytes),
        dicom=Dicom(**values),
        study=Study(settle_seconds=settle_seconds),
    )


@contextlib.contextmanager
def receiving(config: UnitConfig) -> Iterator[Receiver]:
    """A started receiver, in threads of this process."""
    config.data.mkdir(parents=True, exist_ok=True)
    receiver = Receiver(config)
    try:
        receiver.start()
        yield receiver
    finally:
        receiver.stop()


@contextlib.contextmanager
def queue_of(data: Path) -> Iterator[sqlite3.Connection]:
    """A connection to the unit's database."""
    with contextlib.closing(open_database(data)) as connection:
        yield connection


def rows(data: Path, query: str, *values: object) -> list[tuple[Any, ...]]:
    """The rows of one query."""
    with queue_of(data) as connection:
        return [tuple(row) for row in connection.execute(query, values)]


def spool_files(data: Path) -> list[str]:
    """Every file of an instance in the spool, also those that are being received."""
    found = (data / "spool").glob("*/*")
    return sorted(str(path.relative_to(data / "spool")) for path in found if path.is_file())
