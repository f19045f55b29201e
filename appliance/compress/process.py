"""One worker process, seen from the pool: started, talked to with deadlines, ended."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Final

import msgspec

from appliance.compress import sandbox
from appliance.compress.channel import Channel, Failed, Message, Ready
from appliance.compress.faults import WorkerLostError
from appliance.errors import SandboxError

_START_SECONDS: Final = 60.0  # a Raspberry Pi with a cold cache takes under 10
_READ: Final = 1 << 20


class WorkerProcess:
    """Starts on construction. Not thread-safe. Raises SandboxError when the walls can't be put up."""

    def __init__(self, jobs: str, memory_bytes: int) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [
                    sys.executable,
                    "-P",
                    "-B",
                    "-m",
                    "appliance.compress.worker",
                    jobs,
                    str(theirs.fileno()),
                    str(memory_bytes),
                ],
                pass_fds=[theirs.fileno()],
                env=_environment(),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # a library's complaint may quote a data set
            )
        self._channel = Channel(ours)
        self.jobs_done = 0
        self.landlock = self._await_ready()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def send(self, message: Message, descriptors: tuple[int, ...] = ()) -> None:
        """Raises WorkerLostError."""
        try:
            self._channel.send(message, descriptors)
        except OSError:
            raise self._lost() from None

    def receive(self, deadline: float) -> Message:
        """The next message, which must come before `deadline` (monotonic). Raises WorkerLostError."""
        self._wait([self._channel.fileno()], deadline)
        try:
            received = self._channel.receive()
        except (msgspec.MsgspecError, OSError):
            self.end()
            raise WorkerLostError("it spoke nonsense") from None
        if received is None:
            raise self._lost()
        message, descriptors = received
        for descriptor in descriptors:  # a worker has nothing to give
            os.close(descriptor)
        return message

    def read(self, pipe: int, count: int, deadline: float, consume: Callable[[bytes], object]) -> Message | None:
        """Passes the next `count` bytes of `pipe` on; a message that comes instead is returned."""
        left = count
        while left:
            ready = self._wait([pipe, self._channel.fileno()], deadline)
            if pipe not in ready:
                return self.receive(deadline)
            data = os.read(pipe, min(left, _READ))
            consume(data)
            left -= len(data)
        return None

    def limit(self, *, cpu_seconds: float, file_bytes: int) -> None:
        """CPU time from now on, and the size of any file that it writes. Raises WorkerLostError."""
        try:
            sandbox.limit_cpu(self.pid, cpu_seconds)
            sandbox.limit_file_size(self.pid, file_bytes)
        except OSError:
            raise self._lost() from None

    def kill(self) -> None:
        """Kills it; the thread that works with it finds out by itself."""
        self._process.kill()

    def end(self) -> None:
        """Kills it and waits for its end."""
        self._process.kill()
        self._process.wait()
        self._channel.close()

    def _wait(self, descriptors: list[int], deadline: float) -> list[int]:
        poll = select.poll()
        for descriptor in descriptors:
            poll.register(descriptor, select.POLLIN)
        ready = poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
        if not ready:
            self.end()
            raise WorkerLostError("it took too long")
        return [
            descriptor for descriptor, events in ready if events & select.POLLIN or descriptor == self._channel.fileno()
        ]

    def _await_ready(self) -> int:
        try:
            message = self.receive(time.monotonic() + _START_SECONDS)
        except WorkerLostError as error:
            self.end()
            raise SandboxError(f"A worker process did not start: {error}") from None
        if not isinstance(message, Ready):
            self.end()
            raise SandboxError(message.reason if isinstance(message, Failed) else None)
        return message.landlock

    def _lost(self) -> WorkerLostError:
        """It closed its socket: why did it end?"""
        try:
            code = self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        return WorkerLostError(f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}")


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
