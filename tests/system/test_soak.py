"""Four modalities store while one hostile address does at once all that FACTS says stops other receivers."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import canary
from support.certificates import make_certificate
from support.launcher import Launcher, Running
from support.processes import free_port, listens, wait_for, write_unit
from support.safekeeping import Held, unit_problems
from support.tiny_instances import SECONDARY_CAPTURE, TinyInstance, make
from support.tiny_scu import AssociationRefusedError, TinyScu

HOSTILE, ENGINEER = "127.0.0.66", "127.0.0.7"
MODALITIES = ("127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5")
DEFLATED = "1.2.840.10008.1.2.1.99"
SECONDS = 20.0
MEMORY_MAX, THREADS_MAX = 50 << 20, 64


class Soak:
    """The receiver, and threads that go on until `over`."""

    def __init__(self, running: Running, data: Path, port: int, tls_port: int) -> None:
        self.running, self.data, self.port, self.tls_port = running, data, port, tls_port
        self.over = threading.Event()
        self.acknowledged: set[Held] = set()
        self.stored = dict.fromkeys(MODALITIES, 0)
        self.attacks: dict[str, int] = {}
        self.threads: list[threading.Thread] = []

    def run(self, work: Callable[..., None], *arguments: object) -> None:
        """Does `work` again and again in a thread; whatever the receiver does to it is its own affair."""

        def again() -> None:
            while not self.over.is_set():
                with contextlib.suppress(OSError):
                    work(*arguments)
                    self.attacks[work.__name__] = self.attacks.get(work.__name__, 0) + 1
                self.over.wait(0.01)

        self.threads.append(threading.Thread(target=again))
        self.threads[-1].start()

    def end(self) -> None:
        """Ends all threads."""
        self.over.set()
        for thread in self.threads:
            thread.join()

    def status(self, name: str) -> int:
        """A number of /proc/PID/status."""
        lines = Path(f"/proc/{self.running.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))

    def connect(self, port: int) -> socket.socket:
        """From the hostile address."""
        return socket.create_connection(("127.0.0.1", port), 5, (HOSTILE, 0))

    # the modality

    def store(self, source: str) -> None:
        with TinyScu(self.port, source=source) as scu:
            while not self.over.is_set():
                number = self.stored[source]
                instance = make(number // 20, number, space=f"6{MODALITIES.index(source)}", side=64)
                if scu.store(instance) == 0x0000:
                    self.acknowledged.add((instance.sop_instance_uid, instance.digest))
                    self.stored[source] += 1

    # the hostile address

    def claim_a_gigabyte(self) -> None:
        with self.connect(self.port) as peer:
            peer.sendall(struct.pack(">BBL", 1, 0, 1 << 30))
            for _ in range(64):
                peer.sendall(bytes(1 << 20))

    def sit_idle(self) -> None:
        with contextlib.ExitStack() as stack:
            for _ in range(200):
                stack.enter_context(self.connect(self.port))
            self.over.wait(3)

    def send_halves(self) -> None:
        with contextlib.ExitStack() as stack:
            for _ in range(12):
                peer = stack.enter_context(self.connect(self.port))
                with contextlib.suppress(OSError):
                    peer.sendall(struct.pack(">BBL", 1, 0, 1000) + bytes(10))
            self.over.wait(3)

    def say_nothing_on_tls(self) -> None:
        with contextlib.ExitStack() as stack:
            for _ in range(12):
                stack.enter_context(self.connect(self.tls_port))
            self.over.wait(3)

    def drop_a_bomb(self, bomb: TinyInstance) -> None:
        with TinyScu(self.port, contexts=[(SECONDARY_CAPTURE, DEFLATED)], source=HOSTILE) as scu:
            if scu.store(bomb) == 0x0000:
                self.acknowledged.add((bomb.sop_instance_uid, bomb.digest))

    def echo(self) -> float:
        """Seconds that a C-ECHO took; the best of three, since tests share the machine's cores."""
        took = []
        for _ in range(3):
            start = time.monotonic()
            with TinyScu(self.port, source=ENGINEER) as scu:
                assert scu.echo() == 0
                scu.release()
            took.append(time.monotonic() - start)
        return min(took)


def bomb() -> TinyInstance:
    """Half a megabyte that inflates to 300 MB."""
    plain = make(1, 1, space="69")
    head = struct.pack("<HH2sHL", 0x7FE1, 0x0010, b"OB", 0, 300 << 20)
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    pieces = [compressor.compress(plain.data + head)]
    pieces += [compressor.compress(bytes(1 << 20)) for _ in range(300)]
    body = b"".join([*pieces, compressor.flush()])
    return TinyInstance(plain.sop_instance_uid, body, transfer_syntax_uid=DEFLATED)


@pytest.fixture
def soak(tmp_path: Path) -> Iterator[Soak]:
    certificate, key = make_certificate(tmp_path)
    port, tls_port = free_port(), free_port()
    config = write_unit(
        tmp_path / "unit.toml",
        tmp_path / "unit",
        port,
        dicom__tls_port=tls_port,
        dicom__tls_certificate=str(certificate),
        dicom__tls_key=str(key),
        dicom__accept_deflated=True,
    )
    with Launcher(tmp_path / "logs", ("receive",)) as launcher:
        made = Soak(launcher.start("receive", config), tmp_path / "unit", port, tls_port)
        wait_for(lambda: listens(port) and listens(tls_port), "the receiver listens")
        yield made
        assert made.running.stop() == 0
        assert canary.leaks(launcher.log_files()) == []
        assert canary.tracebacks(launcher.log_files()) == []


@pytest.mark.timeout(180)
def test_modalities_notice_nothing_of_every_probe_at_once(soak: Soak) -> None:
    for source in MODALITIES:
        soak.run(soak.store, source)
    wait_for(lambda: all(soak.stored.values()), "every modality stores")
    memory = soak.status("VmRSS") << 10
    for attack in (soak.claim_a_gigabyte, soak.sit_idle, soak.send_halves, soak.say_nothing_on_tls):
        soak.run(attack)
    soak.run(soak.drop_a_bomb, bomb())
    before, until = dict(soak.stored), time.monotonic() + SECONDS
    try:
        while time.monotonic() < until:
            assert soak.echo() < 4.0  # a silent peer that held the listener would do so for 5 s
            assert soak.status("Threads") <= THREADS_MAX
            assert (soak.status("VmHWM") << 10) - memory < MEMORY_MAX
            soak.over.wait(0.25)
    finally:
        soak.end()
    assert all(soak.stored[source] > before[source] + 20 for source in MODALITIES), soak.stored
    assert {"sit_idle", "send_halves", "say_nothing_on_tls"} <= set(soak.attacks)
    assert unit_problems(soak.data, soak.acknowledged) == []
    with pytest.raises(AssociationRefusedError):
        TinyScu(soak.port, source=HOSTILE, calling=b"NOBODY")
