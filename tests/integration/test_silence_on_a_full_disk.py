"""A disk that is full to the last byte silences every process: nobody is ended for it, and the engineer is told why."""

from __future__ import annotations

import contextlib
import socket
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.processes import MIB, write_unit
from support.small_disk import SmallDisk

from appliance import clock, supervise
from appliance.store_forward import doctor
from appliance.store_forward.database import FILE_NAME, open_database
from appliance.store_forward.full_disk import WAITING, takes_nothing
from appliance.store_forward.queue import beat

pytestmark = pytest.mark.needs_root


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with SmallDisk(tmp_path / "disk", 32 * MIB) as made:
        yield made


@pytest.fixture
def queue(disk: SmallDisk) -> Iterator[sqlite3.Connection]:
    """Open, as any process of the unit has it."""
    with contextlib.closing(open_database(disk.directory)) as connection:
        yield connection


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield listener


def test_a_write_that_changes_nothing_tells_whether_the_disk_takes_anything(
    disk: SmallDisk, queue: sqlite3.Connection
) -> None:
    before = list(queue.iterdump())
    assert not takes_nothing(disk.directory)
    disk.fill_until_full_for(disk.directory / FILE_NAME)
    assert takes_nothing(disk.directory)
    disk.make_room()
    assert not takes_nothing(disk.directory)
    assert list(queue.iterdump()) == before


def test_a_lock_that_somebody_holds_is_no_full_disk(disk: SmallDisk) -> None:
    with contextlib.closing(open_database(disk.directory)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        assert not takes_nothing(disk.directory)


def test_the_watchdog_of_a_silent_process_is_fed_while_the_disk_takes_nothing(
    disk: SmallDisk, queue: sqlite3.Connection, manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervise, "SILENT", 0.0)
    beat(queue, "compress", clock.now_ms(), "packing")
    stop = threading.Event()
    thread = threading.Thread(target=supervise.announce, args=(disk.directory, "compress", stop))
    thread.start()
    try:
        assert manager.recv(4096) == b"READY=1\nWATCHDOG=1\nSTATUS=packing"
        disk.fill_until_full_for(disk.directory / FILE_NAME)
        assert manager.recv(4096).decode() == f"WATCHDOG=1\nSTATUS={WAITING}"
    finally:
        stop.set()
        thread.join(20)


def test_the_whole_unit_is_not_started_again_while_the_disk_takes_nothing(
    disk: SmallDisk, queue: sqlite3.Connection
) -> None:
    silent = supervise.Child("forward", ["sleep", "60"])
    silent.turn(0.0)
    try:
        assert supervise._look(disk.directory, [silent])[1] == ()
        disk.fill_until_full_for(disk.directory / FILE_NAME)
        said, signs = supervise._look(disk.directory, [silent])
        assert said.startswith("the disk is full or fails")
        assert signs == ("WATCHDOG=1",)
    finally:
        silent.wait(0.0)


def test_doctor_says_to_make_room_and_not_to_restart(
    disk: SmallDisk, queue: sqlite3.Connection, tmp_path: Path
) -> None:
    config = write_unit(tmp_path / "unit.toml", disk.directory, 11112)
    beat(queue, "forward", clock.now_ms() - 60_000, "sending")
    disk.fill_until_full_for(disk.directory / FILE_NAME)
    found = {check.name: check for check in doctor.examine(config, clock.now_ms())}
    assert "Make room" in found["forward"].todo


def test_doctor_names_the_disk_when_the_queue_can_not_even_be_read(disk: SmallDisk, tmp_path: Path) -> None:
    config = write_unit(tmp_path / "unit.toml", disk.directory, 11112)
    open_database(disk.directory).close()  # SQLite wants a few pages to open it again
    disk.fill(leave=0)
    found = {check.name: check for check in doctor.examine(config, clock.now_ms())}
    assert found["database"].level is found["disk"].level is doctor.Level.FAILING
