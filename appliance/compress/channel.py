"""What the pool and a worker say to each other: small messages over a socket pair, descriptors beside them.

A worker never learns a path. It asks for the next instance and gets its descriptor, so that the pool knows which
instance a worker was at when it died.
"""

from __future__ import annotations

import array
import os
import socket
from typing import Final, TypeAlias

import msgspec

MESSAGE_MAX: Final = 1 << 16
_FDS_MAX: Final = 4


class _Message(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """One datagram."""


class Job(_Message, frozen=True, kw_only=True, tag=True):
    """To the worker: do the job of this name. Descriptors beside it as the job's docstring says."""

    name: str
    arguments: msgspec.Raw


class Item(_Message, frozen=True, kw_only=True, tag=True):
    """To the worker: what it asked for; descriptors beside it."""

    arguments: msgspec.Raw


class NoMore(_Message, frozen=True, kw_only=True, tag=True):
    """To the worker: there is no further one."""


class Start(_Message, frozen=True, kw_only=True, tag=True):
    """To the nursery: make a worker; its end of a socket pair is beside it. Answered by Started."""


class Started(_Message, frozen=True, kw_only=True, tag=True):
    """From the nursery."""

    pid: int


class Reap(_Message, frozen=True, kw_only=True, tag=True):
    """To the nursery: end this worker, unless it has ended; how did it? Answered by Reaped."""

    pid: int


class Reaped(_Message, frozen=True, kw_only=True, tag=True):
    """From the nursery: the exit code, or the signal's number below zero; and its peak resident memory."""

    code: int
    peak_bytes: int


class Ready(_Message, frozen=True, kw_only=True, tag=True):
    """From the worker: it stands in its sandbox and takes a job. `landlock`: the kernel's version, 0 without."""

    landlock: int


class Unwalled(_Message, frozen=True, kw_only=True, tag=True):
    """From the worker, in place of Ready: its walls can't be put up. It has met no foreign byte yet."""

    reason: str


class Ask(_Message, frozen=True, kw_only=True, tag=True):
    """From the worker: it is about to begin the instance of this index; the pool grants it an Item."""

    index: int
    facts: msgspec.Raw


class Done(_Message, frozen=True, kw_only=True, tag=True):
    """From the worker: the job is done."""

    result: msgspec.Raw


class Failed(_Message, frozen=True, kw_only=True, tag=True):
    """From the worker: the job can't be done. `fault` is a word of `drive.FAULTS`; `kind` names the error (`EPERM`,
    `ValueError`), `place` is where in our code it was (`zstd.py:49`).
    """

    fault: str
    kind: str = ""
    place: str = ""


Message: TypeAlias = Start | Started | Reap | Reaped | Job | Item | NoMore | Ready | Unwalled | Ask | Done | Failed
_DECODER: Final = msgspec.msgpack.Decoder(Message)


def pack_value(value: object) -> msgspec.Raw:
    """A value for a message's open field."""
    return msgspec.Raw(msgspec.msgpack.encode(value))


class Channel:
    """One end. Not thread-safe."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end

    def fileno(self) -> int:
        """For poll."""
        return self._socket.fileno()

    def send(self, message: Message, descriptors: tuple[int, ...] = ()) -> None:
        """Raises OSError when the other end is gone."""
        socket.send_fds(self._socket, [msgspec.msgpack.encode(message)], list(descriptors))

    def receive(self) -> tuple[Message, list[int]] | None:
        """The next message and the descriptors that came with it; None at the end. Raises MsgspecError, OSError."""
        space = socket.CMSG_SPACE(_FDS_MAX * array.array("i").itemsize)
        data, control, _, _ = self._socket.recvmsg(MESSAGE_MAX, space, socket.MSG_CMSG_CLOEXEC)
        descriptors = array.array("i")
        for level, kind, payload in control:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                descriptors.frombytes(payload[: len(payload) - len(payload) % descriptors.itemsize])
        if not data:
            return None
        try:
            return _DECODER.decode(data), list(descriptors)
        except msgspec.MsgspecError:
            for descriptor in descriptors:
                os.close(descriptor)
            raise

    def close(self) -> None:
        """Closes this end."""
        self._socket.close()
