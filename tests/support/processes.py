"""Configuration files of a unit and of a hub on loopback, and waiting for facts instead of sleeping."""

from __future__ import annotations

import contextlib
import secrets
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from appliance.config import HubConfig, UnitConfig, write_commented

MIB: Final = 1 << 20
SMALL_PARCELS: Final = {"compress__parcel_bytes": 65536, "compress__parcel_instances": 8}
_T = TypeVar("_T")


def free_port() -> int:
    """A port of loopback that nothing listens on now, below those that the kernel gives to connections.

    One of those could be taken before the process that is to listen has started; and a connection to it, while nothing
    listens, may meet itself and seem accepted.
    """
    while True:
        port = 12_000 + secrets.randbelow(20_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def wait_for(fact: Callable[[], _T | None], what: str, seconds: float = 30.0) -> _T:
    """The first true value of `fact`; asks again every few milliseconds. Raises TimeoutError that says `what`."""
    deadline = time.monotonic() + seconds
    pause = 0.002
    while True:
        value = fact()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:.0f} s: {what}")
        time.sleep(pause)
        pause = min(0.05, pause * 1.5)


def listens(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a connection to the port is accepted now."""
    with contextlib.suppress(OSError), socket.create_connection((host, port), 0.5):
        return True
    return False


def write_unit(path: Path, data: Path, port: int, **values: Any) -> Path:
    """A unit's file: one modality `TEST` on loopback, quick to settle. `values`: section__key=value."""
    merged = {
        "storage.data": str(data),
        "storage.reserve_bytes": MIB,
        "study.settle_seconds": 1.0,
        "dicom.port": port,
        **{key.replace("__", ".", 1): value for key, value in values.items()},
    }
    modality = '\n[[dicom.modalities]]\nname = "Test"\nae_title = "TEST"\nnetwork = "127.0.0.0/8"\n'
    path.write_text(write_commented(UnitConfig, merged) + modality)
    return path


def write_hub(path: Path, data: Path, port: int, **values: Any) -> Path:
    """A hub's file."""
    merged = {
        "hub.data": str(data),
        "hub.port": port,
        "hub.reserve_bytes": MIB,
        **{key.replace("__", ".", 1): value for key, value in values.items()},
    }
    path.write_text(write_commented(HubConfig, merged))
    return path
