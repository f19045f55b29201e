"""Processes of a bench: started in a session of their own, waited for until they listen, and surely ended."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from harness import CHECKOUT

_READY_SECONDS = 60.0
_END_SECONDS = 15.0


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nothing listens on now, below those that the kernel gives to connections."""
    while True:
        port = secrets.randbelow(12_000) + 20_000
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Running:
    """A started program with its log; as a context manager it is ended when the block is left."""

    def __init__(
        self, name: str, command: Sequence[str | Path], log: Path, environment: Mapping[str, str] = {}
    ) -> None:
        self.name = name
        self._log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
                cwd=CHECKOUT,  # `python -m appliance.cli` is this checkout's
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Its process id, which is its session's too."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """How it ended; None while it runs."""
        return self._process.poll()

    def __enter__(self) -> Running:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def wait_until(self, ready: Callable[[], bool], what: str, seconds: float = _READY_SECONDS) -> None:
        """Returns when `ready()` is true. Exits with the end of the log when the program dies or the time is over."""
        limit = time.monotonic() + seconds
        while not ready():
            if self._process.poll() is not None or time.monotonic() > limit:
                raise SystemExit(f"{self.name}: {what} did not happen.\n{self._tail()}")
            time.sleep(0.02)

    def wait_for_port(self, port: int, address: str = "127.0.0.1") -> Running:
        """Returns itself when something accepts connections on that port of that address."""
        self.wait_until(lambda: _accepts(address, port), f"listening on port {port}")
        return self

    def stop(self) -> None:
        """SIGTERM, then SIGKILL for what is left of its session; returns when it is gone."""
        self._signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_SECONDS)
        self.kill()

    def kill(self) -> None:
        """SIGKILL for its session; returns when it is gone."""
        self._signal(signal.SIGKILL)
        self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def _tail(self) -> str:
        return "\n".join(self._log.read_text("utf-8", "replace").splitlines()[-20:])


def _accepts(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), 1.0).close()
    except OSError:
        return False
    return True


def cpu_seconds(pid: int) -> float:
    """Processor time that the process took until now, its own and the kernel's for it."""
    words = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


class PeakMemory:
    """Watches processes with all their descendants, and keeps the highest resident memory (VmHWM) of each kind.

    A kind is `name` for the process itself and `name worker` for what it started. Workers that come and go are seen
    every fifth of a second; the kernel keeps their peak meanwhile.
    """

    def __init__(self, processes: Mapping[str, int]) -> None:
        self._processes = dict(processes)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.peaks: dict[str, int] = {}

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._look()

    def _watch(self) -> None:
        while not self._stop.wait(0.2):
            self._look()

    def _look(self) -> None:
        for name, pid in self._processes.items():
            self._keep(name, pid)
            for child in _descendants(pid):
                # Between fork and exec a child shows its parent's memory as its own.
                if _command_line(child) != _command_line(pid):
                    self._keep(f"{name} worker", child)

    def _keep(self, kind: str, pid: int) -> None:
        peak = peak_memory(pid)
        if peak:
            self.peaks[kind] = max(self.peaks.get(kind, 0), peak)


def peak_memory(pid: int) -> int:
    """VmHWM in bytes; 0 when the process is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text("ascii", "replace")
    except OSError:
        return 0
    found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    return int(found.group(1)) * 1024 if found else 0


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _descendants(pid: int) -> list[int]:
    found, waiting = [], [pid]
    while waiting:
        children = _children(waiting.pop())
        found += children
        waiting += children
    return found


def _children(pid: int) -> list[int]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(word) for task in tasks for word in (task / "children").read_text("ascii").split()]
    except OSError:
        return []
