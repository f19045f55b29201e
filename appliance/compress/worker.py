"""A worker process: `python -m appliance.compress.worker MODULE DESCRIPTOR MEMORY_BYTES`, started by the pool alone.

It imports what it will need, puts up the walls, and does the jobs that come over its socket until that closes.
"""

from __future__ import annotations

import errno
import importlib
import os
import socket
import sys
from typing import Final, cast

from appliance.compress import sandbox
from appliance.compress.channel import Channel, Done, Failed, Job, Ready, pack_value
from appliance.compress.codecs.base import CodecError
from appliance.compress.faults import ParcelTooLargeError
from appliance.compress.session import JobModule, PoolGoneError, Session
from appliance.compress.write import SourceFileError
from appliance.errors import ApplianceError, ParcelError

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


def main(arguments: list[str]) -> int:
    """Returns the exit code: 0 when the pool closed the socket, 2 when there is no sandbox."""
    module = cast(JobModule, importlib.import_module(arguments[0]))
    channel = Channel(socket.socket(fileno=int(arguments[1])))
    try:
        landlock = sandbox.enter(int(arguments[2]))
    except ApplianceError as error:
        channel.send(Failed(fault="sandbox", reason=error.message))
        return 2
    channel.send(Ready(landlock=landlock))
    try:
        serve(channel, module)
    except (PoolGoneError, ConnectionError):
        return 0
    return 0


def serve(channel: Channel, module: JobModule) -> None:
    """Does one job after the other."""
    while received := channel.receive():
        message, descriptors = received
        if not isinstance(message, Job):
            raise PoolGoneError
        channel.send(_answer(channel, module, message, descriptors))


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
    (MemoryError, "codec"),
)


def _failed(error: Exception) -> Failed:
    """What the pool is told: our own sentences, and never a text that a library made of a data set."""
    if isinstance(error, OSError):
        return Failed(fault="disk" if error.errno in _FULL else "internal", reason=error.strerror or "")
    fault = next((word for kind, word in _FAULTS if isinstance(error, kind)), "internal")
    if isinstance(error, MemoryError):
        return Failed(fault=fault, reason="out of memory")
    return Failed(fault=fault, reason=type(error).__name__ if fault == "internal" else str(error))


if __name__ == "__main__":
    # Not sys.exit: nothing of an interpreter's end is needed, and it may try what the walls forbid.
    os._exit(main(sys.argv[1:]))
