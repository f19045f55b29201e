"""`appliance run`: the processes of a unit as children of one, for a laptop or a demo.

Each is started, started again with a growing pause when it dies, and told to stop when we are. They talk to each
other only through the queue, so that this process may die too: the kernel then ends its children, and the next start
finds everything where it was. On the box systemd does the same with one service each.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from appliance import clock
from appliance.config import UnitConfig
from appliance.errors import DatabaseError
from appliance.store_forward.database import open_database
from appliance.store_forward.full_disk import WAITING, takes_nothing
from appliance.store_forward.status import Process, processes_of, read_processes
from appliance.systemd import notify

LONGEST_PAUSE: Final = 30.0  # seconds
LASTING: Final = 60.0  # a process that lived for so many seconds starts afresh in the count of failures
GRACE: Final = 20.0  # seconds a process has to end by itself
SILENT: Final = 10.0  # seconds without a beat before `announce` asks whether the disk is to blame
_TURN: Final = 0.2
_PR_SET_PDEATHSIG: Final = 1
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
_WITH_RIGHTS: Final = "tunnel"  # the one process that may have rights beyond those of its user (CAP_NET_ADMIN)

Command = Callable[[str], Sequence[str]]
Say = Callable[[str], None]


def pause_after(failures: int) -> float:
    """Seconds to wait before the next start after so many failures in a row: 0.5, 1, 2, … 30."""
    return float(min(LONGEST_PAUSE, 0.5 * 2 ** max(0, min(failures, 10) - 1)))


class Child:
    """One process, and when it is to be started next. Times are monotonic seconds."""

    def __init__(self, name: str, command: Sequence[str]) -> None:
        self.name = name
        self.failures = 0
        self._command = list(command)
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._start_at = 0.0

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self._process.pid if self._process else None

    def turn(self, now: float) -> str:
        """Starts it when it is time, notices its end. Returns a sentence when it ended, else an empty string."""
        if self._process is None:
            if now >= self._start_at:
                self._started = now
                before = _end_with_parent if self.name == _WITH_RIGHTS else _end_with_parent_and_rights
                self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, preexec_fn=before)  # noqa: PLW1509, S603
            return ""
        code = self._process.poll()
        if code is None:
            return ""
        self._process = None
        self.failures = 1 if now - self._started > LASTING else self.failures + 1
        wait = pause_after(self.failures)
        self._start_at = now + wait
        return f"{self.name} ended ({_how(code)}); starting it again in {wait:g} s"

    def signal(self, number: signal.Signals) -> None:
        """Sends it a signal, if it runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def wait(self, deadline: float) -> None:
        """Waits until it ended; at `deadline` it is killed."""
        if self._process is None:
            return
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _end_with_parent() -> None:
    """In the child: the kernel ends it when its parent is gone, even by kill -9, so that no port stays taken."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _end_with_parent_and_rights() -> None:
    """The same, and the rights that a service manager gave us for another process are not passed on.

    They are ambient capabilities: a program that is started has none but those. Of root there is nothing to take.
    """
    _end_with_parent()
    ctypes.CDLL(None).prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)


def _how(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"


def command_of(config_path: Path) -> Command:
    """How a process is started: this Python, the same configuration file."""
    return lambda name: [sys.executable, "-m", "appliance.cli", "--config", str(config_path), name]


def run(config: UnitConfig, command: Command, stop: threading.Event, say: Say) -> None:
    """Runs the processes of this unit until `stop` is set. `say` gets a line when something changed."""
    children = [Child(name, command(name)) for name in processes_of(config)]
    said = ""
    next_look = 0.0
    try:
        while not stop.is_set():
            for child in children:
                if ended := child.turn(time.monotonic()):
                    say(ended)
            if time.monotonic() >= next_look:
                next_look = time.monotonic() + 1.0
                line, signs = _look(config.data, children)
                if line != said:
                    said = line
                    say(line)
                notify(f"STATUS={line}", *signs)
            stop.wait(_TURN)
    finally:
        notify("STOPPING=1")
        _end(children)


def _look(data: Path, children: list[Child]) -> tuple[str, tuple[str, ...]]:
    """One line for people, and what the service manager is told beside it.

    Where the disk takes nothing nobody can beat. To be started again helps none of them: they wait, and go on.
    """
    beating, names = _beating(data, {child.pid for child in children}), [child.name for child in children]
    if not _hangs(children, beating):
        return summary(beating, names), ("READY=1", "WATCHDOG=1")
    if takes_nothing(data):
        return "the disk is full or fails: what is here is safe, and goes on by itself when it can be written", (
            "WATCHDOG=1",
        )
    return summary(beating, names), ()


def _hangs(children: list[Child], beating: dict[str, Process]) -> bool:
    """Whether none beats, or one runs and does not. One that ended is started again by us: for a sender without its
    secret the service manager must not end the receiver too.
    """
    return not beating or any(child.pid is not None and child.name not in beating for child in children)


def _end(children: list[Child]) -> None:
    deadline = time.monotonic() + GRACE
    for child in children:
        child.signal(signal.SIGTERM)
    for child in children:
        child.wait(deadline)


def _beating(data: Path, pids: set[int | None]) -> dict[str, Process]:
    """Those of our children that have opened the queue and still beat."""
    try:
        with contextlib.closing(open_database(data, read_only=True)) as connection:
            return {p.name: p for p in read_processes(connection, clock.now_ms()) if p.pid in pids and p.alive}
    except (DatabaseError, sqlite3.Error):
        return {}  # no process made it yet, or one is making its tables just now


def summary(beating: dict[str, Process], names: Sequence[str]) -> str:
    """One line for a person: each process of `names`, with what it says it is doing."""
    return " · ".join(f"{name}: {beating[name].status or 'up' if name in beating else 'starting'}" for name in names)


def announce(data: Path, name: str, stop: threading.Event) -> None:
    """Tells the service manager about the process `name`, this one: ready at its first beat, alive at each new one.

    Returns when `stop` is set. A process that no longer beats gets no watchdog message, and systemd starts it again;
    but not when the disk takes nothing, so that it can't.
    """
    last_beat, heard = 0, time.monotonic()
    while not stop.wait(1.0):
        mine = _beating(data, {os.getpid()}).get(name)
        if mine is not None and mine.beat_at != last_beat:
            last_beat, heard = mine.beat_at, time.monotonic()
            notify("READY=1", "WATCHDOG=1", f"STATUS={mine.status}")
        elif time.monotonic() - heard >= SILENT and takes_nothing(data):
            notify("WATCHDOG=1", f"STATUS={WAITING}")
    notify("STOPPING=1")
