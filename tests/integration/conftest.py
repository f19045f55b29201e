"""What several files of this folder start from. A file that needs another hub has a `hub` of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.courier import Both, both_ends
from support.hub import RunningHub, hub_config, running_hub

from appliance.compress.pool import WorkerPool
from appliance.config import Compress
from appliance.hub import checking


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[RunningHub]:
    """A hub on loopback with the site `site-1`."""
    with running_hub(hub_config(tmp_path / "hub")) as running:
        yield running


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    """Workers that put all of a study into one parcel."""
    with WorkerPool(Compress(parcel_bytes=64 << 20)) as used:
        yield used


@pytest.fixture
def looking_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub looks for what another process gave it every five seconds; here ten times a second."""
    monkeypatch.setattr(checking, "_LOOK_SECONDS", 0.1)


@pytest.fixture
def both(tmp_path: Path, pool: WorkerPool) -> Iterator[Both]:
    """A unit and a hub that a stick may go between."""
    with both_ends(tmp_path, pool) as ends:
        yield ends
