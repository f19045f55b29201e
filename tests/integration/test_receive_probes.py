"""What one hostile peer on the hospital network can do to the receiver: nothing that another peer would notice.

The receiver is a process of its own, so that its memory and threads can be read from the system. The hostile peer is
one loopback address, the modality another.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import tiny_instances, tiny_scu
from support.certificates import make_certificate
from support.launcher import Launcher
from support.processes import free_port, listens, wait_for, write_unit
from support.receiving import rows
from support.tiny_instances import SECONDARY_CAPTURE, element
from support.tiny_scu import AssociationRefusedError, TinyScu

HOSTILE, MODALITY = "127.0.0.66", "127.0.0.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
MEMORY_MAX, THREADS_MAX = 50 << 20, 64
ECHO_SECONDS = 4.0  # a silent peer that held the listener would do so for handshake_seconds, 5 s
REQUEST = tiny_scu.association_request([(tiny_scu.VERIFICATION, tiny_scu.IMPLICIT_LITTLE)])


class Unit:
    """The receiver under probe."""

    def __init__(self, data: Path, pid: int, port: int, tls_port: int) -> None:
        self.data, self.pid, self.port, self.tls_port = data, pid, port, tls_port
        self._memory = self._status("VmRSS") * 1024

    def _status(self, name: str) -> int:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1])
        raise LookupError(name)

    @property
    def threads(self) -> int:
        return self._status("Threads")

    def check(self) -> None:
        """The promises of every probe, in the middle of it."""
        assert self._status("VmHWM") * 1024 - self._memory < MEMORY_MAX
        assert self.threads <= THREADS_MAX
        assert self.echo_seconds() < ECHO_SECONDS

    def echo_seconds(self, *, tls: bool = False) -> float:
        """C-ECHO of the modality; the best of three, because other tests may share this machine's cores."""
        return min(self._echo(tls=tls) for _ in range(3))

    def _echo(self, *, tls: bool) -> float:
        start = time.monotonic()
        if not tls:
            with TinyScu(self.port, source=MODALITY) as scu:
                assert scu.echo() == 0
                scu.release()
            return time.monotonic() - start
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with (
            socket.create_connection(("127.0.0.1", self.tls_port), 10, (MODALITY, 0)) as plain,
            context.wrap_socket(plain) as secured,
        ):
            secured.sendall(REQUEST)
            assert secured.recv(1) == b"\x02"
        return time.monotonic() - start

    def connect(self, source: str = HOSTILE, *, tls: bool = False) -> socket.socket:
        port = self.tls_port if tls else self.port
        return socket.create_connection(("127.0.0.1", port), 10, (source, 0))


@pytest.fixture(scope="module")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    made = Launcher(tmp_path_factory.mktemp("logs"), ("receive",))
    yield made
    made.close()


@pytest.fixture
def unit(tmp_path: Path, launcher: Launcher) -> Iterator[Unit]:
    certificate, key = make_certificate(tmp_path)
    port, tls_port = free_port(), free_port()
    config = write_unit(
        tmp_path / "unit.toml",
        tmp_path / "data",
        port,
        dicom__tls_port=tls_port,
        dicom__tls_certificate=str(certificate),
        dicom__tls_key=str(key),
        dicom__accept_deflated=True,
        dicom__handshake_seconds=3.0,
        dicom__pdu_seconds=3.0,
    )
    config.write_text(config.read_text().replace("127.0.0.0/8", "127.0.0.0/24"))
    (tmp_path / "data").mkdir()
    running = launcher.start("receive", config)
    try:
        wait_for(lambda: listens(port) and listens(tls_port), "the receiver listens")
        with TinyScu(port, source=MODALITY) as scu:
            assert scu.store(tiny_instances.make(9, 9)) == 0  # everything is loaded before memory is measured
        yield Unit(tmp_path / "data", running.pid, port, tls_port)
    finally:
        assert running.stop() == 0


def held(stack: contextlib.ExitStack, connections: list[socket.socket]) -> list[socket.socket]:
    for connection in connections:
        stack.enter_context(connection)
    return connections


def test_a_first_pdu_of_a_gigabyte_is_not_awaited(unit: Unit) -> None:
    with unit.connect() as peer:
        peer.sendall(struct.pack(">BBL", 1, 0, 1 << 30))
        with contextlib.suppress(OSError):
            for _ in range(256):
                peer.sendall(bytes(1 << 20))
        unit.check()


def test_two_hundred_idle_connections_are_turned_away_and_gone_after_their_time(unit: Unit) -> None:
    before = unit.threads
    with contextlib.ExitStack() as stack:
        held(stack, [unit.connect() for _ in range(200)])
        unit.check()
        wait_for(lambda: unit.threads <= before, "the idle connections are gone", 10)
        unit.check()


def test_half_sent_requests_hold_nothing_and_are_gone_after_their_time(unit: Unit) -> None:
    before = unit.threads
    with contextlib.ExitStack() as stack:
        for peer in held(stack, [unit.connect() for _ in range(40)]):
            with contextlib.suppress(OSError):
                peer.sendall(struct.pack(">BBL", 1, 0, 1000) + bytes(10))
        unit.check()
        wait_for(lambda: unit.threads <= before, "the half-sent requests are gone", 10)


def test_half_sent_data_in_associations_is_aborted_after_its_time(unit: Unit) -> None:
    before = unit.threads
    with contextlib.ExitStack() as stack:
        scus = []
        with contextlib.suppress(AssociationRefusedError):
            while True:
                scus.append(stack.enter_context(TinyScu(unit.port, source=HOSTILE)))
        assert 1 <= len(scus) <= 6
        for scu in scus:
            scu.socket.sendall(struct.pack(">BBL", 4, 0, 100_000) + bytes(10))
        unit.check()
        wait_for(lambda: unit.threads <= before, "the associations are aborted", 10)


def test_silent_tls_peers_do_not_hold_the_listener(unit: Unit) -> None:
    with contextlib.ExitStack() as stack:
        held(stack, [unit.connect(tls=True) for _ in range(12)])
        unit.check()
        assert unit.echo_seconds(tls=True) < ECHO_SECONDS


def bomb(*, before_the_uids: bool) -> bytes:
    """A deflated data set with one element of 300 MB of zeros."""
    size = 300 << 20
    element_head = struct.pack("<HH2sHL", 0x0009 if before_the_uids else 0x7FE1, 0x0010, b"OB", 0, size)
    plain = tiny_instances.make(1, 1).data
    at = plain.index(struct.pack("<HH", 0x0010, 0x0010)) if before_the_uids else len(plain)
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    pieces = [compressor.compress(plain[:at] + element_head)]
    pieces += [compressor.compress(bytes(1 << 20)) for _ in range(300)]
    return b"".join([*pieces, compressor.compress(plain[at:]), compressor.flush()])


@pytest.mark.parametrize(("before_the_uids", "status"), [(True, 0xC000), (False, 0)])
def test_a_deflate_bomb_is_looked_at_only_as_far_as_its_identity(
    unit: Unit, before_the_uids: bool, status: int
) -> None:
    body = bomb(before_the_uids=before_the_uids)
    assert len(body) < 1 << 20
    instance = tiny_instances.TinyInstance("2.25.1.1.1.1", body, transfer_syntax_uid=DEFLATED)
    with TinyScu(unit.port, contexts=((SECONDARY_CAPTURE, DEFLATED),), source=HOSTILE, seconds=60) as scu:
        assert scu.store(instance) == status
        unit.check()


def test_a_crowd_of_strangers_leaves_room_for_a_modality(unit: Unit) -> None:
    with contextlib.ExitStack() as stack:
        held(stack, [unit.connect(f"127.1.0.{1 + number % 50}") for number in range(300)])
        unit.check()
        wait_for(lambda: unit.threads < 12, "the crowd is gone", 10)
        unit.check()


def test_a_peer_over_its_cap_is_told_to_come_back_later(unit: Unit) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(6):
            stack.enter_context(TinyScu(unit.port, source=HOSTILE))
        with unit.connect() as peer:
            peer.sendall(tiny_scu.association_request([(SECONDARY_CAPTURE, tiny_instances.EXPLICIT_LITTLE)]))
            assert peer.recv(10) == b"\x03\0\0\0\0\x04\0\x02\x03\x02"  # transient, presentation, local limit exceeded
            assert peer.recv(1) == b""
        unit.check()
    wait_for(lambda: unit.threads < 8, "the associations are over")
    with TinyScu(unit.port, source=HOSTILE) as scu:
        assert scu.echo() == 0


def test_a_scan_with_many_titles_leaves_a_short_list(unit: Unit) -> None:
    for number in range(230):
        with pytest.raises(AssociationRefusedError):
            TinyScu(unit.port, calling=f"SCAN{number}".encode(), source=HOSTILE)
    unit.check()
    ((count,),) = rows(unit.data, "SELECT count(*) FROM device")
    assert 20 <= count <= 200  # twenty, and one for each second that it took


def test_a_data_set_that_stays_open_for_ever_is_a_file_of_its_own_length_at_most(unit: Unit) -> None:
    """A peer that never ends its object gets no more than the ceiling; here it just goes, and its part goes with it."""
    with TinyScu(unit.port, source=HOSTILE) as scu:
        instance = tiny_instances.make(1, 1)
        scu.socket.sendall(tiny_scu.data_pdus(1, tiny_scu.store_request(instance), command=True))
        piece = element(0x00091001, "OB", bytes(100_000))
        for _ in range(20):
            scu.socket.sendall(tiny_scu.pdu(4, struct.pack(">LBB", len(piece) + 2, 1, 0) + piece))
        wait_for(lambda: list((unit.data / "spool" / "incoming").iterdir()), "the object is coming")
        unit.check()
    wait_for(lambda: not list((unit.data / "spool" / "incoming").iterdir()), "its part is gone")
