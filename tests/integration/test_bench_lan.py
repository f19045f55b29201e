"""The hospital's network of the benches: its wires are as slow as they say, and nothing of it outlives the bench.

One file, so that none of these tests meets another's network: there is one at a time.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.benches import ingest_cases, real_disk, run_bench
from support.data import CHECKOUT
from support.processes import wait_for

pytestmark = pytest.mark.needs_root

PORT = Path("/sys/class/net/bench-lan")
# Prints the receiver's address and what runs a command at each of two modalities; keeps the network until it is ended.
BENCH = """
import sys
from harness import lan
with lan.hospital(2) as network:
    for words in ([network.address], network.at(0), network.at(1)):
        print(*words, flush=True)
    sys.stdin.read()
"""
SEND = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as wire:
    wire.sendall(bytes(int(sys.argv[3])))
"""
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(CHECKOUT / "bench")}


@dataclass
class Bench:
    """A process that keeps the network, the receiver's address in it, and the words of its two modalities."""

    process: subprocess.Popen[str]
    address: str
    modalities: list[list[str]]


@pytest.fixture
def bench() -> Iterator[Bench]:
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", BENCH]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=ENVIRONMENT) as process:
        assert process.stdout is not None
        address, *modalities = (process.stdout.readline().split() for _ in range(3))
        yield Bench(process, address[0], modalities)
        process.kill()
    wait_for(lambda: not PORT.exists(), "the network is gone")


def receive(listener: socket.socket) -> int:
    """The bytes of one connection."""
    wire, _ = listener.accept()
    with wire:
        return sum(iter(lambda: len(wire.recv(65536)), 0))


def test_a_modality_sends_no_faster_than_fast_ethernet(bench: Bench) -> None:
    count = 5_000_000
    with socket.create_server((bench.address, 0)) as listener:
        listener.settimeout(30.0)
        words = [bench.address, str(listener.getsockname()[1]), str(count)]
        begun = time.monotonic()
        with subprocess.Popen([*bench.modalities[0], sys.executable, "-c", SEND, *words]):
            assert receive(listener) == count
        assert time.monotonic() - begun > 0.99 * count * 8 / 100e6


def test_a_second_bench_is_told_that_the_network_is_there_and_leaves_it(bench: Bench) -> None:
    command = [sys.executable, "-c", "from harness import lan\nwith lan.hospital(1): pass"]
    second = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert "UnavailableError" in second.stderr.splitlines()[-1]
    assert "File exists" in second.stderr.splitlines()[-1]
    assert PORT.exists()
    assert bench.process.poll() is None


@pytest.mark.parametrize("end", [None, signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_of_the_network_outlives_the_bench(bench: Bench, end: signal.Signals | None) -> None:
    made = {Path(words[-1].removeprefix("--net=")).readlink() for words in bench.modalities}
    assert made <= namespaces()
    assert PORT.exists()
    if end is None:
        bench.process.communicate()
    else:
        bench.process.send_signal(end)
    bench.process.wait()
    wait_for(lambda: not made & namespaces(), "no process is in the modalities' namespaces")
    wait_for(lambda: not PORT.exists(), "the receiver's port is gone")


def namespaces() -> set[Path]:
    """The network namespaces of all processes."""
    found = set()
    for link in Path("/proc").glob("[0-9]*/ns/net"):
        with contextlib.suppress(OSError):
            found.add(link.readlink())
    return found


@pytest.mark.needs_series
def test_ingest_over_the_lan_measures_the_unit_and_orthanc_with_one_modality_and_with_four() -> None:
    with real_disk() as directory:
        lines, figures = run_bench("ingest", "--repeat", "1", "--slices", "4", directory=directory)
    assert ingest_cases(figures, "LAN") == {
        (receiver, mode, senders) for receiver in ("unit", "Orthanc") for mode in (False, True) for senders in (1, 4)
    }
    assert len([goal for goal in figures["goals"] if goal["goal"].startswith("LAN, ")]) == 2
    assert "storescu TCP_NODELAY=1, LAN" in lines
