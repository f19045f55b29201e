"""The jobs that a worker can do. The pool starts workers with the name of this module; JOBS says what it offers."""

from __future__ import annotations

import fcntl
import os
from contextlib import ExitStack
from typing import BinaryIO, Final

import msgspec

from appliance.compress.parcel import DICTIONARY_MAX
from appliance.compress.read import Sink, UnpackRequest, read_parcel
from appliance.compress.session import Job, Session
from appliance.compress.show import ShowRequest, ShowResult, show_previews
from appliance.compress.write import PackRequest, PackResult, write_parcel


def pack(session: Session, arguments: msgspec.Raw, descriptors: list[int]) -> PackResult:
    """Descriptors: the parcel's file, a scratch file (both empty), and maybe the dictionary."""
    request = msgspec.msgpack.decode(arguments, type=PackRequest)
    with ExitStack() as stack:
        out, scratch, *dictionary = [opened(stack, descriptor) for descriptor in descriptors]
        return write_parcel(session, request, out, scratch, _bytes(dictionary))


def unpack(session: Session, arguments: msgspec.Raw, descriptors: list[int]) -> None:
    """Descriptors: the parcel's file, a pipe for the data sets, and maybe the dictionary."""
    request = msgspec.msgpack.decode(arguments, type=UnpackRequest)
    with ExitStack() as stack:
        parcel, *dictionary = [opened(stack, descriptor) for descriptor in (descriptors[0], *descriptors[2:])]
        stack.callback(os.close, descriptors[1])
        read_parcel(session, request, parcel.fileno(), Sink(descriptors[1]), _bytes(dictionary))


def show(session: Session, arguments: msgspec.Raw, descriptors: list[int]) -> ShowResult:
    """Descriptors: a file with the first part of a parcel, a pipe for the previews, and maybe the dictionary."""
    request = msgspec.msgpack.decode(arguments, type=ShowRequest)
    with ExitStack() as stack:
        part, *dictionary = [opened(stack, descriptor) for descriptor in (descriptors[0], *descriptors[2:])]
        stack.callback(os.close, descriptors[1])
        return show_previews(session, request, part.fileno(), Sink(descriptors[1]), _bytes(dictionary))


def opened(stack: ExitStack, descriptor: int) -> BinaryIO:
    """A file that the stack closes, for reading and, if the descriptor allows it, for writing."""
    if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDWR:
        return stack.enter_context(os.fdopen(descriptor, "r+b"))
    return stack.enter_context(os.fdopen(descriptor, "rb"))


def _bytes(dictionary: list[BinaryIO]) -> bytes | None:
    return dictionary[0].read(DICTIONARY_MAX + 1) if dictionary else None


JOBS: Final[dict[str, Job]] = {"pack": pack, "unpack": unpack, "show": show}
