"""Full disks, huge objects, cut associations, ends of the process: what was acknowledged is there, nothing else is."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import sqlite3
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support import tiny_instances, tiny_scu
from support.processes import wait_for
from support.receiving import EVERYONE, queue_of, receiving, rows, spool_files, unit_config
from support.tiny_instances import TinyInstance, element
from support.tiny_scu import AssociationRefusedError, TinyScu

from appliance.config import MIB
from appliance.errors import ConfigError, DatabaseError, SpoolError
from appliance.store_forward import devices, receive
from appliance.store_forward.database import transaction
from appliance.store_forward.receive import Receiver


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB."""
    path = tmp_path / "disk"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(path)], check=True, timeout=10)
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True, timeout=10)


def big(number: int, size: int = MIB) -> TinyInstance:
    made = tiny_instances.make(1, number)
    end = made.data.index(struct.pack("<HH", 0x7FE0, 0x0010))
    return replace(made, data=made.data[:end] + element(0x7FE00010, "OW", bytes([number]) * size))


def intact(data: Path) -> int:
    """How many rows there are; each has its file with its bytes, and there is no other file."""
    found = rows(data, "SELECT file, lower(hex(digest)), bytes FROM instance")
    for file, digest, size in found:
        assert hashlib.sha256((data / "spool" / file).read_bytes()[-size:]).hexdigest() == digest
    assert spool_files(data) == sorted(file for file, *_ in found)
    return len(found)


@pytest.mark.needs_root
def test_a_disk_that_fills_refuses_with_a700_and_the_association_stays_usable(small_disk: Path) -> None:
    data = small_disk / "data"
    with receiving(unit_config(data, reserve_bytes=MIB)) as receiver, TinyScu(receiver.port) as scu:
        statuses = [scu.store(big(number)) for number in range(30)]
        kept = statuses.count(0)
        assert statuses == [0] * kept + [0xA700] * (30 - kept)
        assert 5 < kept < 24
        assert scu.echo() == 0
        (data / "spool" / rows(data, "SELECT file FROM instance WHERE id = 1")[0][0]).rename(data / "gone.dcm")
        (data / "gone.dcm").unlink()  # as when a delivered study leaves
        with queue_of(data) as connection:
            connection.execute("UPDATE instance SET state = 'removed' WHERE id = 1")
        assert scu.store(big(99)) == 0
        assert rows(data, "SELECT status, error_id, times FROM refused_store") == [(0xA700, "E202", 30 - kept)]


def leave_free(disk: Path, filler: int, room: int) -> None:
    """Makes the filler so large that about `room` bytes are free."""
    os.ftruncate(filler, 0)
    state = os.statvfs(disk)
    size = state.f_bavail * state.f_frsize - room
    if size > 0:
        os.posix_fallocate(filler, 0, size)


@pytest.mark.needs_root
def test_every_write_may_be_the_one_that_finds_the_disk_full(small_disk: Path) -> None:
    """No reserve: the file system itself says no, in the spool or in the database, wherever it happens to run out."""
    data = small_disk / "data"
    with receiving(unit_config(data, reserve_bytes=MIB)) as receiver, TinyScu(receiver.port, seconds=60) as scu:
        receiver.spool._reserve_bytes = 0
        acknowledged, statuses = set(), list[int]()
        with (small_disk / "filler").open("wb") as filler:
            for room in range(0, 240_000, 12_000):
                leave_free(small_disk, filler.fileno(), room)
                for number in range(3):
                    instance = big(number, 20_000 + room // 8 + number)
                    statuses.append(scu.store(instance))
                    if statuses[-1] == 0:
                        acknowledged.add(instance.digest)
        assert set(statuses) == {0, 0xA700}
        (small_disk / "filler").unlink()
        assert scu.store(big(200)) == 0
    stored = {digest for (digest,) in rows(data, "SELECT lower(hex(digest)) FROM instance")}
    assert acknowledged <= stored
    intact(data)


def test_a_disk_under_its_reserve_refuses_before_the_first_byte(tmp_path: Path) -> None:
    with receiving(unit_config(tmp_path, reserve_bytes=1 << 60)) as receiver, TinyScu(receiver.port) as scu:
        assert scu.store(big(1)) == 0xA700
        assert scu.echo() == 0
        wait_for(lambda: rows(tmp_path, "SELECT error_id FROM refused_store") == [("E202",)], "it is shown")
    assert spool_files(tmp_path) == []


def test_a_database_that_is_locked_for_long_answers_a700_or_waits_but_never_lies(tmp_path: Path) -> None:
    with receiving(unit_config(tmp_path)) as receiver, TinyScu(receiver.port) as scu:
        assert scu.store(big(1)) == 0
        with contextlib.closing(sqlite3.connect(tmp_path / "appliance.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            answer: list[int] = []
            sender = threading.Thread(target=lambda: answer.append(scu.store(big(2))))
            sender.start()
            time.sleep(0.3)
            assert answer == []  # not durable yet, so nothing is said
            other.execute("ROLLBACK")
            sender.join()
        assert answer == [0]
    assert intact(tmp_path) == 2


def test_a_database_that_takes_no_writes_answers_a700_and_keeps_nothing(tmp_path: Path) -> None:
    with receiving(unit_config(tmp_path)) as receiver, TinyScu(receiver.port) as scu:
        assert scu.store(big(1)) == 0
        # Asked, not noted: a note may come after an instance that was handed over later.
        receiver.journal.ask(lambda connection: connection.execute("PRAGMA query_only = ON").close())
        assert scu.store(big(2)) == 0xA700
        assert spool_files(tmp_path) == [rows(tmp_path, "SELECT file FROM instance")[0][0]]
        assert scu.echo() == 0


def test_memory_stays_flat_while_an_object_of_a_gigabyte_comes(tmp_path: Path) -> None:
    """The object is made on the fly; the peak is that of this process, sender and receiver together."""
    config = unit_config(tmp_path / "unit")
    with receiving(config) as receiver, TinyScu(receiver.port, seconds=120) as scu:
        assert scu.store(big(1)) == 0
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
        before = _peak()
        size = 1 << 30
        end = tiny_instances.make(1, 7).data
        at = end.index(struct.pack("<HH", 0x7FE0, 0x0010))
        head = end[:at] + struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OW", 0, size)
        scu.socket.sendall(tiny_scu.data_pdus(1, tiny_scu.store_request(tiny_instances.make(1, 7)), command=True))
        piece = bytes(131_000)
        digest = hashlib.sha256(head)
        scu.socket.sendall(tiny_scu.data_pdus(1, head, command=False)[: -len(head) - 1] + b"\x00" + head)
        left = size
        while left:
            part = piece[: min(left, len(piece))]
            left -= len(part)
            flags = 0 if left else 2
            scu.socket.sendall(tiny_scu.pdu(4, struct.pack(">LBB", len(part) + 2, 1, flags) + part))
            digest.update(part)
        assert scu._status() == 0
        assert _peak() - before < 20 * MIB
    assert rows(tmp_path / "unit", "SELECT bytes, lower(hex(digest)) FROM instance WHERE id = 2") == [
        (size + len(head), digest.hexdigest())
    ]


def _peak() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise LookupError("VmHWM")


@pytest.mark.parametrize("how", ["abort", "close", "reset", "half a PDU"])
def test_an_association_that_ends_in_the_middle_keeps_what_was_acknowledged(tmp_path: Path, how: str) -> None:
    with receiving(unit_config(tmp_path)) as receiver:
        with TinyScu(receiver.port) as scu:
            assert [scu.store(big(number)) for number in range(3)] == [0, 0, 0]
            half = tiny_scu.data_pdus(1, tiny_scu.store_request(big(9)), command=True)
            half += tiny_scu.data_pdus(1, big(9).data, command=False)[:300_000]
            scu.socket.sendall(half if how == "half a PDU" else half[: len(half) // 16000 * 16000])
            if how == "abort":
                scu.socket.sendall(tiny_scu.pdu(7, bytes(4)))
            if how == "reset":
                scu.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        wait_for(lambda: receiver.associations == 0, "the association is over")
        with TinyScu(receiver.port) as scu:
            assert scu.store(big(3)) == 0
    assert intact(tmp_path) == 4


def test_the_timeline_has_one_line_for_each_association(tmp_path: Path) -> None:
    with receiving(unit_config(tmp_path)) as receiver:
        for first in (0, 3):
            with TinyScu(receiver.port) as scu:
                assert [scu.store(big(number)) for number in range(first, first + 3)] == [0, 0, 0]
                scu.release()
            wait_for(lambda: receiver.associations == 0, "the association is over")
        with TinyScu(receiver.port) as scu:
            assert scu.store(big(0)) == 0  # again
    lines = rows(tmp_path, "SELECT kind, count FROM event ORDER BY id")
    assert lines == [("received_first", 1), ("received", 3), ("received", 3)]


def test_four_modalities_at_once_lose_and_mix_nothing(tmp_path: Path) -> None:
    with receiving(unit_config(tmp_path)) as receiver:

        def modality(study: int) -> None:
            with TinyScu(receiver.port) as scu:
                made = [tiny_instances.make(study, number, side=64) for number in range(25)]
                assert [scu.store(instance) for instance in made] == [0] * 25
                scu.release()

        threads = [threading.Thread(target=modality, args=(study,)) for study in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert intact(tmp_path) == 100
    assert rows(tmp_path, "SELECT instances, received FROM study") == [(25, 25)] * 4


def test_a_stop_finishes_the_instance_in_hand_and_aborts_the_association(tmp_path: Path) -> None:
    with receiving(unit_config(tmp_path)) as receiver, TinyScu(receiver.port) as scu, TinyScu(receiver.port) as idle:
        instance = big(1)
        whole = tiny_scu.data_pdus(1, tiny_scu.store_request(instance), command=True)
        whole += tiny_scu.data_pdus(1, instance.data, command=False)
        scu.socket.sendall(whole[:500_000])
        wait_for(lambda: list((tmp_path / "spool" / "incoming").iterdir()), "the instance is coming")
        stopper = threading.Thread(target=receiver.stop)
        stopper.start()
        assert idle._read_pdu()[0] == 7
        scu.socket.sendall(whole[500_000:])
        assert scu._status() == 0
        assert scu._read_pdu()[0] == 7
        stopper.join()
    assert intact(tmp_path) == 1


def test_a_stop_does_not_wait_for_ever_for_an_instance_that_does_not_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.dimse.server._GRACE_SECONDS", 0.5)
    with receiving(unit_config(tmp_path)) as receiver, TinyScu(receiver.port) as scu:
        scu.socket.sendall(tiny_scu.data_pdus(1, tiny_scu.store_request(big(1)), command=True))
        wait_for(lambda: list((tmp_path / "spool" / "incoming").iterdir()), "the instance is coming")
        start = time.monotonic()
        receiver.stop()
        assert time.monotonic() - start < 30, "it waited for the association, which may be silent for 60 s"
    assert intact(tmp_path) == 0


def test_an_allowed_device_is_let_in_at_once_with_its_own_settings(tmp_path: Path) -> None:
    with receiving(unit_config(tmp_path, modalities=())) as receiver:
        for calling in (b"NEWCT", b"OTHER", b"NEWCT"):
            with pytest.raises(AssociationRefusedError):
                TinyScu(receiver.port, calling=calling)
        assert rows(tmp_path, "SELECT calling_ae, address, called_ae, attempts FROM device") == [
            ("NEWCT", "127.0.0.1", "APPLIANCE", 2),
            ("OTHER", "127.0.0.1", "APPLIANCE", 1),
        ]
        with queue_of(tmp_path) as connection, transaction(connection):
            devices.decide(connection, 1, "allowed", by="eve", at=1, name="CT room 2", settle_ms=9000)
            devices.decide(connection, 2, "refused", by="eve", at=1)
        with TinyScu(receiver.port, calling=b"NEWCT") as scu:
            assert scu.store(big(1)) == 0
        with pytest.raises(AssociationRefusedError):
            TinyScu(receiver.port, calling=b"OTHER")
        with pytest.raises(AssociationRefusedError):
            TinyScu(receiver.port, calling=b"NEWCT", source="127.0.0.2")
        wait_for(lambda: receiver.knows("127.0.0.1"), "its address counts as known")
    assert rows(tmp_path, "SELECT settle_ms, priority, calling_ae FROM study") == [(9000, 2, "NEWCT")]


def test_a_modality_s_own_settings_go_to_its_studies(tmp_path: Path) -> None:
    modality = replace_modality(settle_seconds=30.0, priority="stat")
    with receiving(unit_config(tmp_path, modalities=(modality,))) as receiver, TinyScu(receiver.port) as scu:
        assert scu.store(big(1)) == 0
    assert rows(tmp_path, "SELECT settle_ms, priority FROM study") == [(30_000, 0)]


def replace_modality(**changed: object) -> receive.Modality:
    fields = {name: getattr(EVERYONE, name) for name in EVERYONE.__struct_fields__}
    return receive.Modality(**(fields | changed))


def test_the_process_says_that_it_is_alive(tmp_path: Path) -> None:
    config, stop = unit_config(tmp_path), threading.Event()
    thread = threading.Thread(target=receive.run, args=(config, stop))
    thread.start()
    wait_for((tmp_path / "appliance.db").exists, "the database is there")
    wait_for(lambda: rows(tmp_path, "SELECT name, status FROM process") == [("receive", "0 associations")], "it beats")
    stop.set()
    thread.join(10)
    assert not thread.is_alive()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_writer_that_died_ends_the_process_and_acknowledges_nothing(tmp_path: Path) -> None:
    with receiving(unit_config(tmp_path)) as receiver, TinyScu(receiver.port) as scu:
        assert scu.store(big(1)) == 0
        receiver.check()
        receiver.journal.note(lambda connection: 1 // 0)  # a fault of ours
        wait_for(lambda: not receiver.journal.alive, "the writer died")
        with pytest.raises(DatabaseError):
            receiver.check()
        assert scu.store(big(2)) == 0xA700
    assert rows(tmp_path, "SELECT count(*) FROM instance") == [(1,)]


def test_a_port_in_use_and_a_spool_in_use_stop_the_start_with_a_reason(tmp_path: Path) -> None:
    with receiving(unit_config(tmp_path / "a")) as receiver:
        with pytest.raises(ConfigError, match="Can't listen"):
            Receiver(unit_config(tmp_path / "b", port=receiver.port))
        with pytest.raises(SpoolError, match="Another"):
            Receiver(unit_config(tmp_path / "a"))
