"""What each process tells the service manager: ready at its first beat, alive only while it beats anew."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from support import rows

from appliance import clock, supervise
from appliance.store_forward.database import open_database, transaction
from appliance.store_forward.queue import beat


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield listener


@pytest.fixture
def announcing(tmp_path: Path, manager: socket.socket) -> Iterator[Path]:
    """`announce` for this process, named receive, and the data directory of its queue."""
    stop = threading.Event()
    thread = threading.Thread(target=supervise.announce, args=(tmp_path, "receive", stop))
    thread.start()
    yield tmp_path
    stop.set()
    thread.join(20)
    assert not thread.is_alive()


def _beat(data: Path, name: str, status: str) -> None:
    with closing(open_database(data)) as connection:
        beat(connection, name, clock.now_ms(), status)


def _silent(manager: socket.socket, seconds: float) -> bool:
    manager.settimeout(seconds)
    try:
        manager.recv(4096)
    except TimeoutError:
        return True
    return False


def test_it_is_ready_with_its_first_beat_and_fed_with_each_new_one(announcing: Path, manager: socket.socket) -> None:
    _beat(announcing, "receive", "2 associations")
    assert manager.recv(4096).decode() == "READY=1\nWATCHDOG=1\nSTATUS=2 associations"
    assert _silent(manager, 2.5)  # no new beat, no food for the watchdog
    manager.settimeout(20)
    _beat(announcing, "receive", "idle")
    assert "WATCHDOG=1\nSTATUS=idle" in manager.recv(4096).decode()


def test_the_beat_of_another_process_is_not_ours(announcing: Path, manager: socket.socket) -> None:
    with closing(open_database(announcing)) as connection, transaction(connection):
        rows.add_process(connection, "receive", pid=os.getpid() + 1, beat_at=clock.now_ms())
        beat(connection, "forward", clock.now_ms(), "ready")
    assert _silent(manager, 2.5)
