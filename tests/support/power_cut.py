"""Rigs that cut the power of a process at a chosen call to its disk, again and again, and look at what survived.

A *generation* is one forgetful disk that lives through a number of cuts. Everything that is drawn comes from the
generation's seed, so that `./dev crash --rig NAME --seed SEED` goes the same way again (as far as threads allow).
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Final

from support import canary
from support.forgetful_disk import CALLS
from support.launcher import Launcher, Running
from support.lossyfs import LossyMount
from support.processes import SMALL_PARCELS, free_port, listens, wait_for, write_unit
from support.safekeeping import Held, leftovers, unit_problems
from support.tiny_instances import TinyInstance, make
from support.tiny_scu import TinyScu

_LOAD_SECONDS: Final = 20.0


@dataclass
class Summary:
    """What a number of cuts found. `problems`: sentences, each with the seed that shows it again."""

    cuts: int = 0
    acknowledged: int = 0
    problems: list[str] = field(default_factory=list)
    prevented: Counter[str] = field(default_factory=Counter)  # the call at which the power went

    def add(self, other: Summary) -> None:
        """Counts another summary in."""
        self.cuts += other.cuts
        self.acknowledged += other.acknowledged
        self.problems += other.problems
        self.prevented += other.prevented

    def line(self, name: str) -> str:
        """One line for people."""
        calls = " ".join(f"{call}={count}" for call, count in sorted(self.prevented.items()))
        return f"{name}: {self.cuts} cuts, {self.acknowledged} acknowledged, lost={len(self.problems)}; at {calls}"


class Rig(ABC):
    """A process on a forgetful disk, a load, and what must be true afterwards."""

    name: ClassVar[str]
    rooms: ClassVar[tuple[str, ...]]
    mutations: ClassVar[int]  # a cut comes within so many mutating calls

    def __init__(self, directory: Path, seed: int, faults: Sequence[str]) -> None:
        self.directory, self.seed, self.faults = directory, seed, faults
        self.closing = contextlib.ExitStack()
        self.disk = self.closing.enter_context(LossyMount(directory / "disk"))
        self.launcher = self.closing.enter_context(Launcher(directory / "logs", self.rooms))
        self._threads = self.closing.enter_context(ThreadPoolExecutor(1))
        self.cut = threading.Event()
        self.summary = Summary()

    @abstractmethod
    def prepare(self) -> None:
        """Makes what the generation needs, before the first start."""

    @abstractmethod
    def start(self) -> list[Running]:
        """Starts what the power will be cut from."""

    @abstractmethod
    def load(self) -> None:
        """Gives it work until `self.cut` is set, and writes down what was acknowledged. Runs in a thread."""

    @abstractmethod
    def check(self) -> list[str]:
        """A sentence for everything that is wrong with what survived. Nothing runs now."""

    @abstractmethod
    def finish(self) -> list[str]:
        """Lets everything run to its end with the power on; what is wrong then."""

    def round(self, number: int) -> None:
        """One cut, and what survived it."""
        draw = random.Random(f"{self.seed}/{number}")
        self.cut.clear()
        after = draw.randint(1, draw.choice((40, self.mutations)))
        self.disk.arm(after, draw.choice(("", *CALLS)))
        running = self.start()
        loading = self._threads.submit(self.load)
        ended = self._await_cut(running)
        for process in running:
            process.kill()
        self.cut.set()
        loading.result()
        self.summary.prevented[self.disk.power_on(draw.getrandbits(32))] += 1
        self.summary.cuts += 1
        self.note(f"after cut {number}", ended + self.check())

    def _await_cut(self, running: list[Running]) -> list[str]:
        """Returns when the power is off; a sentence for each process that ended while it was on."""
        ended: dict[str, str] = {}
        deadline = time.monotonic() + _LOAD_SECONDS
        while not self.disk.wait_cut(0.05) and time.monotonic() < deadline:
            for process in running:
                code = process.exit_code()
                if code is not None and not self.disk.wait_cut(0):
                    ended[process.name] = f"{process.name} ended with {code}: {process.log.read_text()[-1500:]}"
        if not self.disk.wait_cut(0):
            self.disk.cut()
        return list(ended.values())

    def faults_of(self, room: str) -> list[str]:
        """The faults for a process of this room: `FAULT`, or `ROOM: FAULT`."""
        prefix = f"{room}: "
        return [fault.removeprefix(prefix) for fault in self.faults if ": " not in fault or fault.startswith(prefix)]

    def note(self, when: str, problems: list[str]) -> None:
        """Adds problems with what is needed to see them again."""
        self.summary.problems += [f"{self.name} seed {self.seed} {when}: {problem}" for problem in problems]

    def close(self) -> None:
        """Ends every process and unmounts."""
        self.closing.close()


def generation(kind: type[Rig], directory: Path, seed: int, cuts: int, faults: Sequence[str] = ()) -> Summary:
    """Runs `cuts` cuts of one rig on a fresh disk; stops at the first cut that shows a problem."""
    rig = kind(directory / f"{kind.name}-{seed}", seed, faults)
    try:
        rig.prepare()
        for number in range(cuts):
            rig.round(number)
            if rig.summary.problems:
                return rig.summary
        rig.note("at the end", rig.finish())
        return rig.summary
    finally:
        rig.close()


class ReceiveRig(Rig):
    """`receive` alone: two modalities store without a pause."""

    name = "receive"
    rooms = ("receive",)
    mutations = 1500
    pause: ClassVar[float] = 0.0  # seconds between two stores of a modality

    def prepare(self) -> None:
        self.data = self.disk.directory / "unit"
        self.port = free_port()
        self.config = write_unit(self.directory / "unit.toml", self.data, self.port, **SMALL_PARCELS)
        self.acknowledged: set[Held] = set()
        self.sent = 0

    def start(self) -> list[Running]:
        small = ("eight files a directory",) if self.seed % 2 else ()
        return [self.launcher.start("receive", self.config, (*self.faults_of("receive"), *small))]

    def load(self) -> None:
        second = threading.Thread(target=self._store, args=(1,))
        second.start()
        self._store(0)
        second.join()

    def _store(self, modality: int) -> None:
        while not self.cut.is_set():
            with contextlib.suppress(OSError), TinyScu(self.port, seconds=_LOAD_SECONDS) as scu:
                while not self.cut.is_set():
                    self.sent += 1
                    instance = self._instance(self.sent * 2 + modality)
                    if scu.store(instance) == 0x0000:
                        self.acknowledged.add((instance.sop_instance_uid, instance.digest))
                        self.summary.acknowledged += 1
                    self.cut.wait(self.pause)
            self.cut.wait(0.002)

    def _instance(self, number: int) -> TinyInstance:
        """Mostly a new one; sometimes one that was sent before, and sometimes that with other bytes."""
        if number % 7 == 0:
            number -= 14
        name = "Conflict" if number % 11 == 0 else canary.NAME
        return make(number // 16, number, space=str(self.seed + 1), name=name)

    def check(self) -> list[str]:
        return unit_problems(self.data, self.acknowledged)

    def finish(self) -> list[str]:
        (running,) = self.start()
        wait_for(lambda: listens(self.port), "receive listens")
        with TinyScu(self.port) as scu:
            status = scu.store(make(1, 1, space=f"{self.seed + 1}.9"))
        code = running.stop()
        problems = [f"a store after the last cut got status {status:#06x}"] if status else []
        problems += [f"receive ended with exit code {code}"] if code else []
        return problems + self.check() + leftovers(self.data)
