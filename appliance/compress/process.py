"""One worker process, seen from the pool: talked to with deadlines, and ended."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable
from typing import Final

import msgspec

from appliance.compress import sandbox
from appliance.compress.channel import Channel, Message, Ready, Unwalled
from appliance.compress.faults import WorkerLostError
from appliance.errors import SandboxError

_START_SECONDS: Final = 60.0
_READ: Final = 1 << 20


class WorkerProcess:
    """Not thread-safe. `reap(pid)` ends it and gives its exit code.

    Raises SandboxError when the walls can't be put up.
    """

    def __init__(self, pid: int, channel: Channel, reap: Callable[[int], int]) -> None:
        self.pid = pid
        self._channel = channel
        self._reap = reap
        self._code: int | None = None
        self.landlock = self._await_ready()

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

    def end(self) -> int:
        """Kills it, unless it has ended, and returns how it ended: an exit code, or a signal's number below zero."""
        if self._code is None:
            self._code = self._reap(self.pid)
            self._channel.close()
        return self._code

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
            raise SandboxError(f"A worker process did not start: {error}") from None
        if not isinstance(message, Ready):
            self.end()
            raise SandboxError(message.reason if isinstance(message, Unwalled) else None)
        return message.landlock

    def _lost(self) -> WorkerLostError:
        """It closed its socket: why did it end?"""
        code = self.end()
        return WorkerLostError(f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}")
