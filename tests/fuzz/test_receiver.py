"""Broken associations, messages and data sets at a real receiver: it answers or closes, and serves the next one."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import canary, data
from support.launcher import Launcher, Running
from support.mutate import mutate
from support.processes import free_port, listens, wait_for, write_unit
from support.safekeeping import Held, leftovers, unit_problems
from support.tiny_instances import EXPLICIT_LITTLE, SECONDARY_CAPTURE, TinyInstance, make
from support.tiny_scu import TinyScu, association_request, data_pdus, pdu, store_request

from appliance.part10.meta import read_prefix

MEMORY_MAX = 50 << 20
LARGEST = 64 << 10
DEFLATED = "1.2.840.10008.1.2.1.99"  # not offered by this receiver


class Receiver:
    """A receiver of its own, and what it acknowledged."""

    def __init__(self, directory: Path, launcher: Launcher) -> None:
        self.data, self.port = directory / "unit", free_port()
        self.launcher = launcher
        self.acknowledged: set[Held] = set()
        config = write_unit(directory / "unit.toml", self.data, self.port)
        self.running: Running = launcher.start("receive", config)
        wait_for(lambda: listens(self.port), "the receiver listens")
        self.store(make(1, 1))
        self.memory = self.resident()

    def resident(self) -> int:
        """Bytes."""
        fields = Path(f"/proc/{self.running.pid}/statm").read_text().split()
        return int(fields[1]) * 4096

    def store(self, instance: TinyInstance) -> int:
        """One association, one store."""
        context = (instance.sop_class_uid, instance.transfer_syntax_uid)
        with TinyScu(self.port, contexts=[context]) as scu:
            status = scu.store(instance)
            scu.release()
        if status == 0x0000:
            self.acknowledged.add((instance.sop_instance_uid, instance.digest))
        return status

    def say(self, stream: bytes) -> bytes:
        """Sends bytes, closes its own half and returns what comes until the receiver closes."""
        answer = b""
        with contextlib.suppress(ConnectionError), socket.create_connection(("127.0.0.1", self.port), 20) as peer:
            peer.sendall(stream)
            peer.shutdown(socket.SHUT_WR)
            while more := peer.recv(65536):
                answer += more
        return answer

    def problems(self) -> list[str]:
        """What is wrong after all that."""
        found = unit_problems(self.data, self.acknowledged) + leftovers(self.data)
        found += canary.leaks(self.launcher.log_files()) + canary.tracebacks(self.launcher.log_files())
        if self.running.exit_code() is not None:
            found.append("the receiver has ended")
        elif self.resident() - self.memory > MEMORY_MAX:
            found.append(f"its memory grew by {(self.resident() - self.memory) >> 20} MiB")
        return found


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    with Launcher(tmp_path / "logs", ("receive",)) as launcher:
        yield Receiver(tmp_path, launcher)


@pytest.mark.timeout(0)
def test_a_broken_conversation_disturbs_nobody(receiver: Receiver, rounds: int) -> None:
    contexts = [(SECONDARY_CAPTURE, EXPLICIT_LITTLE)]
    for seed in range(rounds or 300):
        draw = random.Random(seed)
        instance = make(2, seed)
        message = data_pdus(1, store_request(instance), command=True, largest=draw.choice((50, 16000)))
        message += data_pdus(1, instance.data, command=False, largest=draw.choice((100, 16000)))
        parts = [association_request(contexts), message, pdu(0x05, bytes(4))]
        broken = draw.choice((0, 1, 1, 1, 2))
        parts[broken] = mutate(parts[broken], draw)
        receiver.say(b"".join(parts))
        if seed % 25 == 0:
            assert receiver.store(make(3, seed)) == 0x0000, f"after seed {seed}"
    assert receiver.store(make(4, 1)) == 0x0000
    assert receiver.problems() == []


@pytest.mark.timeout(0)
def test_a_broken_data_set_is_stored_exactly_or_refused_with_the_right_status(receiver: Receiver, rounds: int) -> None:
    files = [path for path in data.dicom_files() if path.stat().st_size < LARGEST and _is_offered(path)]
    statuses: dict[int, int] = {}
    for seed in range(rounds or 300):
        draw = random.Random(seed)
        status = receiver.store(_broken(draw.choice(files), draw))
        statuses[status] = statuses.get(status, 0) + 1
        assert _is_right(status), f"status {status:#06x} for seed {seed}"
    assert statuses.get(0x0000, 0) > 0
    assert len(statuses) > 1
    assert receiver.problems() == []


def _broken(path: Path, draw: random.Random) -> TinyInstance:
    with path.open("rb") as file:
        meta, start = read_prefix(file)
        file.seek(start)
        content = file.read()
    return TinyInstance(meta.sop_instance_uid, mutate(content, draw), meta.sop_class_uid, meta.transfer_syntax_uid)


def _is_offered(path: Path) -> bool:
    with path.open("rb") as file:
        return read_prefix(file)[0].transfer_syntax_uid != DEFLATED


def _is_right(status: int) -> bool:
    """Success; does not match (A9xx); cannot understand (Cxxx); invalid instance, SOP class not supported (PS3.7 C)."""
    return status in {0x0000, 0x0117, 0x0122} or status >> 8 == 0xA9 or status >> 12 == 0xC
