"""The nursery and its workers: `python -m appliance.compress.worker MODULE DESCRIPTOR MEMORY_BYTES PARENT`.

Started by the pool alone. It imports what jobs need, once, and then forks a worker for each job: a process that puts
up the walls, does the one job that comes over its socket, and is never used again.
"""

from __future__ import annotations

import errno
import gc
import importlib
import os
import signal
import socket
import sys
from contextlib import suppress
from typing import Final, cast

from appliance.compress import sandbox
from appliance.compress.channel import (
    Channel,
    Done,
    Failed,
    Job,
    Ready,
    Reap,
    Reaped,
    Start,
    Started,
    Unwalled,
    pack_value,
)
from appliance.compress.codecs.base import CodecError
from appliance.compress.faults import ParcelTooLargeError
from appliance.compress.session import JobModule, PoolGoneError, Session
from appliance.compress.write import SourceFileError
from appliance.errors import ApplianceError, ParcelError
from appliance.mistakes import where

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


def main(arguments: list[str]) -> int:
    """The nursery: makes workers until the pool closes the socket. It touches no foreign byte itself."""
    module = cast(JobModule, importlib.import_module(arguments[0]))
    pool = Channel(socket.socket(fileno=int(arguments[1])))
    memory_bytes = int(arguments[2])
    sandbox.die_with_parent(int(arguments[3]))
    gc.freeze()  # what is loaded by now is shared with every worker, and stays so
    while received := pool.receive():
        message, descriptors = received
        if isinstance(message, Start):
            pool.send(Started(pid=_start(module, pool, descriptors[0], memory_bytes)))
        elif isinstance(message, Reap):
            os.kill(message.pid, signal.SIGKILL)  # one that is on its way out keeps the end that it has
            _, status, usage = os.wait4(message.pid, 0)
            pool.send(Reaped(code=os.waitstatus_to_exitcode(status), peak_bytes=usage.ru_maxrss << 10))
    return 0


def _start(module: JobModule, pool: Channel, descriptor: int, memory_bytes: int) -> int:
    """Makes a worker; returns its process id, and in the worker itself never returns."""
    nursery = os.getpid()
    pid = os.fork()
    if pid == 0:
        pool.close()
        os._exit(work(module, Channel(socket.socket(fileno=descriptor)), memory_bytes, nursery))
    os.close(descriptor)
    return pid


def work(module: JobModule, channel: Channel, memory_bytes: int, parent: int) -> int:
    """The worker: puts up the walls and does one job. The exit code: 0, or 2 when there is no sandbox."""
    try:
        landlock = sandbox.enter(memory_bytes, parent)
    except ApplianceError as error:
        channel.send(Unwalled(reason=error.message))
        return 2
    channel.send(Ready(landlock=landlock))
    with suppress(PoolGoneError, ConnectionError):
        received = channel.receive()
        if received and isinstance(received[0], Job):
            channel.send(_answer(channel, module, received[0], received[1]))
            channel.receive()  # the pool ends us
    return 0


def _answer(channel: Channel, module: JobModule, job: Job, descriptors: list[int]) -> Done | Failed:
    try:
        result = module.JOBS[job.name](Session(channel), job.arguments, descriptors)
        return Done(result=pack_value(result))
    except (PoolGoneError, ConnectionError):
        raise
    except Exception as error:  # noqa: BLE001 - whatever foreign bytes make a library do costs this job, not the pool
        return _failed(error)


_FAULTS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (SourceFileError, "source"),
    (ParcelTooLargeError, "too large"),
    (ParcelError, "format"),
    (CodecError, "codec"),
    (MemoryError, "memory"),
)


def _failed(error: Exception) -> Failed:
    """What the pool is told: words of our own, and the place in our code; never a text that a library made of a data
    set.
    """
    if isinstance(error, OSError):
        fault = "disk" if error.errno in _FULL else "file"
        return Failed(fault=fault, kind=errno.errorcode.get(error.errno or 0, ""), place=where(error))
    fault = next((word for kind, word in _FAULTS if isinstance(error, kind)), "internal")
    return Failed(fault=fault, kind=type(error).__name__, place=where(error))


if __name__ == "__main__":
    # Not sys.exit: nothing of an interpreter's end is needed, and it may try what the walls forbid.
    os._exit(main(sys.argv[1:]))
