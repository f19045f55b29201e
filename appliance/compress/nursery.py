"""Where workers come from: a process that has everything loaded and forks one for each job.

To start an interpreter and load numpy takes a third of a second of a fast core, and seconds of a small one; to fork
takes milliseconds. So a worker can be thrown away after one job, and what a parcel or an image did to a process
never meets another one.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Final, TypeVar

import msgspec

from appliance.compress.channel import Channel, Message, Reap, Reaped, Start, Started
from appliance.compress.faults import PoolClosedError
from appliance.compress.process import WorkerProcess
from appliance.errors import SandboxError

_START_SECONDS: Final = 60.0  # a Raspberry Pi with a cold cache takes under 10
_TRIES: Final = 3  # something may kill the nursery while it starts; what fails each time is said
_Answer = TypeVar("_Answer", Started, Reaped)


class NurseryGoneError(Exception):
    """The process that makes workers has ended, and they with it."""


class _Process:
    """The nursery's process. Not thread-safe."""

    def __init__(self, jobs: str, memory_bytes: int) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-P", "-B", "-m", "appliance.compress.worker"]
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [*command, jobs, str(theirs.fileno()), str(memory_bytes), str(os.getpid())],
                pass_fds=[theirs.fileno()],
                env=_environment(),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # a library's complaint may quote a data set
            )
        ours.settimeout(_START_SECONDS)
        self._channel = Channel(ours)

    def ask(self, question: Message, kind: type[_Answer], descriptors: tuple[int, ...] = ()) -> _Answer:
        """Its answer. Raises NurseryGoneError."""
        try:
            self._channel.send(question, descriptors)
            received = self._channel.receive()
        except (OSError, msgspec.MsgspecError):
            received = None
        if received is None or not isinstance(received[0], kind):
            raise NurseryGoneError
        return received[0]

    def end(self) -> None:
        """Ends it, and with it every worker that is left."""
        self._process.kill()
        self._process.wait()
        self._channel.close()


class Nursery:
    """Lends workers, each for one job. Thread-safe. Starts its process with the first worker, or when told to."""

    def __init__(self, jobs: str, memory_bytes: int) -> None:
        self._jobs, self._memory_bytes = jobs, memory_bytes
        self._lock = threading.RLock()
        self._process: _Process | None = None
        self._closed = threading.Event()
        self.peak_bytes = 0  # the most memory that any worker that has ended had resident
        # The nursery dies with the thread that started it (PR_SET_PDEATHSIG), so that is one which lives on.
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="nursery-starter")

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed.is_set()

    def raise_if_closed(self) -> None:
        """Raises PoolClosedError: then what a worker did means nothing."""
        if self.closed:
            raise PoolClosedError

    def prepare(self) -> None:
        """Begins to load what workers need, so that the first job need not wait for it."""
        with self._lock:
            self._running()

    @contextmanager
    def lend(self) -> Iterator[WorkerProcess]:
        """A worker for one job. Raises SandboxError, PoolClosedError."""
        worker = self._worker()
        try:
            yield worker
        finally:
            worker.end()

    def close(self) -> None:
        """Ends all workers, those at work too: the threads that use them find out by themselves."""
        with self._lock:
            self._closed.set()
            if self._process:
                self._process.end()
                self._process = None
        self._starter.shutdown(wait=True)

    def _worker(self) -> WorkerProcess:
        for attempt in range(1, _TRIES + 1):
            try:
                return self._new()
            except (NurseryGoneError, SandboxError) as error:
                if attempt == _TRIES:
                    raise SandboxError(str(error) or "The process that makes workers did not start") from None
        raise AssertionError("not reached")

    def _new(self) -> WorkerProcess:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with self._lock, theirs, ExitStack() as stack:
            stack.callback(ours.close)
            pid = self._ask(Start(), Started, (theirs.fileno(),)).pid
            stack.pop_all()
        return WorkerProcess(pid, Channel(ours), self._reap)

    def _reap(self, pid: int) -> int:
        with self._lock:
            try:
                reaped = self._ask(Reap(pid=pid), Reaped)
            except (NurseryGoneError, PoolClosedError):
                return -9  # it died with the nursery
            self.peak_bytes = max(self.peak_bytes, reaped.peak_bytes)
            return reaped.code

    def _ask(self, question: Message, kind: type[_Answer], descriptors: tuple[int, ...] = ()) -> _Answer:
        process = self._running()
        try:
            return process.ask(question, kind, descriptors)
        except NurseryGoneError:
            process.end()
            self._process = None
            raise

    def _running(self) -> _Process:
        if self._closed.is_set():
            raise PoolClosedError
        if self._process is None:
            self._process = self._starter.submit(_Process, self._jobs, self._memory_bytes).result()
        return self._process


def _environment() -> dict[str, str]:
    """One thread a worker: numpy's would cost address space, and the sandbox allows none."""
    path = os.pathsep.join(entry for entry in sys.path if entry)
    return {
        "PYTHONPATH": path,
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONHASHSEED": "0",
        "LC_ALL": "C.UTF-8",
    }
