"""The pool's side of the jobs on parcels: grants instance after instance, keeps the limits, and hashes.

What a worker says is not believed: digests are computed here, of the bytes that came out of its pipe.
"""

from __future__ import annotations

import builtins
import errno
import fcntl
import hashlib
import os
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path
from typing import BinaryIO, Final, Protocol, TypeVar

import msgspec

import appliance
from appliance.compress.channel import Ask, Done, Failed, Item, Job, Message, NoMore, pack_value
from appliance.compress.faults import WorkerLostError, source_error
from appliance.compress.parcel import INSTANCES_MAX
from appliance.compress.patience import Patience
from appliance.compress.process import WorkerProcess
from appliance.compress.read import InstanceFacts, ParcelFacts, UnpackRequest
from appliance.compress.show import PNG_MAX, PREVIEWS_MAX, PreviewFacts, ShowRequest, ShowResult
from appliance.compress.transcode import TranscodeRequest
from appliance.compress.values import Preview, Source
from appliance.compress.write import PackItem, PackRequest, PackResult

_PIPE_BYTES: Final = 1 << 20
_FILE_SLACK: Final = 64 << 20
_RECIPE_MAX: Final = 8 << 20
_LINE_DIGITS: Final = 4
_NUMBERS: Final = {name: number for number, name in errno.errorcode.items()}
_KINDS: Final = frozenset(_NUMBERS) | {
    name for name, kind in vars(builtins).items() if isinstance(kind, type) and issubclass(kind, BaseException)
}
_Value = TypeVar("_Value")


# Why a worker may say that it can't do a job.
FAULTS: Final = {
    "source": "a file is not as its row says",
    "too large": "it claims to hold more than is accepted",
    "format": "it breaks the format of parcels",
    "codec": "a codec can't do it",
    "memory": "out of memory",
    "disk": "the disk is full",
    "file": "a file can't be read or written",
    "internal": "something that was not foreseen",
}


class JobFailedError(Exception):
    """The worker said that it can't do the job; `fault` is its word for why.

    What it read may have taken it over, and this reaches logs: of its words only those are used that are known here.
    """

    def __init__(self, failed: Failed) -> None:
        self.fault = failed.fault if failed.fault in FAULTS else "internal"
        self.error_number = _NUMBERS.get(failed.kind, errno.EIO)  # of `errno`, when the fault is `file`
        known = [failed.kind] if failed.kind in _KINDS else []
        known += [failed.place] if _is_place(failed.place) else []
        super().__init__(FAULTS[self.fault] + (f" ({' at '.join(known)})" if known else ""))


def _is_place(text: str) -> bool:
    """Whether it may be a line of our code."""
    name, _, line = text.partition(":")
    return name in _modules() and len(line) <= _LINE_DIGITS and line.isascii() and line.isdigit()


@cache
def _modules() -> frozenset[str]:
    return frozenset(path.name for path in Path(appliance.__file__).parent.rglob("*.py"))


class PackDrive:
    """Drives one pack job; `index` is the instance that the worker is at, the guilty one when it dies."""

    def __init__(self, worker: WorkerProcess, sources: Sequence[Source], patience: Patience) -> None:
        self._worker, self._sources, self._patience = worker, sources, patience
        self._file_bytes = sum(source.bytes for source in sources) + _FILE_SLACK
        self.index = self._granted = 0

    def run(self, request: PackRequest, files: tuple[BinaryIO, BinaryIO], dictionary: bytes | None) -> PackResult:
        """`files`: the parcel and a scratch file. Raises WorkerLostError, JobFailedError; DamagedSourceError or
        UnreadableSourceError when a source can't be opened.
        """
        worker = self._worker
        deadline = self._patience.grant(worker, 0, self._file_bytes)
        with ExitStack() as stack:
            descriptors = tuple(file.fileno() for file in files) + _memory(stack, dictionary)
            worker.send(Job(name="pack", arguments=pack_value(request)), descriptors)
        while isinstance(message := worker.receive(deadline), Ask):
            if message.index != self._granted:
                raise WorkerLostError("it spoke out of turn")
            deadline = self._grant(message.index)
        result = _result(message, PackResult)
        if result.instances != self._granted:
            raise WorkerLostError("it spoke out of turn")
        return result

    def _grant(self, index: int) -> float:
        size = self._sources[index].bytes if index < len(self._sources) else 0
        deadline = self._patience.grant(self._worker, size, self._file_bytes)
        if index >= len(self._sources):
            self._worker.send(NoMore())
            return deadline
        source = self._sources[index]
        self.index, self._granted = index, index + 1
        try:
            file = source.path.open("rb")
        except OSError as error:
            raise source_error(index, error) from error
        with file:
            self._worker.send(Item(arguments=pack_value(_item(source))), (file.fileno(),))
        return deadline


def _item(source: Source) -> PackItem:
    return PackItem(
        data_offset=source.data_offset,
        bytes=source.bytes,
        digest=source.digest,
        transfer_syntax_uid=source.transfer_syntax_uid,
        sop_class_uid=source.sop_class_uid,
        sop_instance_uid=source.sop_instance_uid,
        received_at=source.received_at,
        calling_ae=source.calling_ae,
        plain=source.plain,
        keep_header=source.keep_header,
    )


class Taker(Protocol):
    """Where a restored instance's bytes go."""

    def begin(self, index: int, facts: InstanceFacts) -> None:
        """Before the first byte of an instance."""

    def take(self, data: bytes) -> None:
        """Bytes of it, in order."""

    def finish(self, facts: InstanceFacts, digest: bytes) -> None:
        """After its last byte; `digest` is their SHA-256."""


def drive_unpack(
    worker: WorkerProcess,
    parcel: BinaryIO,
    dictionary: bytes | None,
    restored_bytes_max: int,
    patience: Patience,
    taker: Taker,
) -> tuple[ParcelFacts, bytes]:
    """What the parcel says of itself, and the SHA-256 of the instances' digests as computed here.

    Raises WorkerLostError, JobFailedError.
    """
    with ExitStack() as stack:
        pipe, theirs = _pipe(stack)
        patience.grant(worker, 0, 0)
        request = UnpackRequest(restored_bytes_max=restored_bytes_max)
        with ExitStack() as short:
            short.callback(os.close, theirs)
            descriptors = (parcel.fileno(), theirs, *_memory(short, dictionary))
            worker.send(Job(name="unpack", arguments=pack_value(request)), descriptors)
        return _Unpacking(worker, pipe, patience, taker, restored_bytes_max).run()


def drive_show(
    worker: WorkerProcess, part: BinaryIO, dictionary: bytes | None, request: ShowRequest, patience: Patience
) -> tuple[list[Preview], ShowResult]:
    """The previews that a part of a parcel holds and that were not drawn before, a bounded number of them.

    Raises WorkerLostError, JobFailedError.
    """
    drawn: list[Preview] = []
    with ExitStack() as stack:
        pipe, theirs = _pipe(stack)
        deadline = patience.grant(worker, 0, 0)
        with ExitStack() as short:
            short.callback(os.close, theirs)
            descriptors = (part.fileno(), theirs, *_memory(short, dictionary))
            worker.send(Job(name="show", arguments=pack_value(request)), descriptors)
        while isinstance(message := worker.receive(deadline), Ask):
            facts = _decoded(message.facts, PreviewFacts)
            if not 0 < facts.bytes <= PNG_MAX or len(drawn) >= PREVIEWS_MAX:
                raise WorkerLostError("it sent more than a preview may have")
            worker.send(Item(arguments=pack_value(None)))
            png: list[bytes] = []
            if other := worker.read(pipe, facts.bytes, deadline, png.append):
                raise _unexpected(other)
            drawn.append(Preview(block=facts.block, frame=facts.frame, identity=facts.identity, png=b"".join(png)))
    return drawn, _result(message, ShowResult)


def drive_transcode(
    worker: WorkerProcess, files: tuple[BinaryIO, BinaryIO], memory_bytes: int, patience: Patience
) -> bytes | None:
    """`files`: a Part 10 file, and an empty one for the transcoded. The recipe, or None when it must stay.

    Raises WorkerLostError, JobFailedError.
    """
    size = os.fstat(files[0].fileno()).st_size
    with ExitStack() as stack:
        (recipe,) = _memory(stack, b"")
        deadline = patience.grant(worker, size, size + _FILE_SLACK)
        request = pack_value(TranscodeRequest(memory_bytes=memory_bytes))
        worker.send(Job(name="transcode", arguments=request), (files[0].fileno(), files[1].fileno(), recipe))
        made = _result(worker.receive(deadline), bool)
        return os.pread(recipe, _RECIPE_MAX, 0) if made else None


def drive_restore(
    worker: WorkerProcess,
    transcoded: BinaryIO,
    recipe: bytes,
    restored_bytes_max: int,
    patience: Patience,
    taker: Taker,
) -> bytes:
    """The SHA-256 of the restored data set. Raises WorkerLostError, JobFailedError."""
    with ExitStack() as stack:
        pipe, theirs = _pipe(stack)
        with ExitStack() as short:
            short.callback(os.close, theirs)
            descriptors = (transcoded.fileno(), theirs, *_memory(short, recipe))
            worker.send(Job(name="restore", arguments=pack_value(None)), descriptors)
        return _Unpacking(worker, pipe, patience, taker, restored_bytes_max).run_one()


class _Unpacking:
    def __init__(
        self, worker: WorkerProcess, pipe: int, patience: Patience, taker: Taker, restored_bytes_max: int
    ) -> None:
        self._worker, self._pipe, self._patience, self._taker = worker, pipe, patience, taker
        self._left = restored_bytes_max
        self._digests = hashlib.sha256()

    def run(self) -> tuple[ParcelFacts, bytes]:
        facts = self._first()
        deadline = self._patience.grant(self._worker, 0, 0)
        for index in range(facts.instances):
            message = self._worker.receive(deadline)
            if not isinstance(message, Ask):
                raise _unexpected(message)
            deadline, digest = self._instance(index, _decoded(message.facts, InstanceFacts))
            self._digests.update(digest)
        _result(self._worker.receive(deadline), type(None))
        return facts, self._digests.digest()

    def run_one(self) -> bytes:
        """For a job that sends one instance, and says nothing of a parcel."""
        message = self._worker.receive(self._patience.grant(self._worker, 0, 0))
        if not isinstance(message, Ask):
            raise _unexpected(message)
        deadline, digest = self._instance(0, _decoded(message.facts, InstanceFacts))
        _result(self._worker.receive(deadline), type(None))
        return digest

    def _first(self) -> ParcelFacts:
        message = self._worker.receive(self._patience.grant(self._worker, 0, 0))
        if not isinstance(message, Ask):
            raise _unexpected(message)
        facts = _decoded(message.facts, ParcelFacts)
        if not 0 < facts.instances <= INSTANCES_MAX:
            raise WorkerLostError("it spoke nonsense")
        self._worker.send(Item(arguments=pack_value(None)))
        return facts

    def _instance(self, index: int, facts: InstanceFacts) -> tuple[float, bytes]:
        """Takes an instance; the next deadline, and its SHA-256."""
        self._left -= facts.bytes
        if facts.bytes < 0 or self._left < 0:
            raise WorkerLostError("it sent more than the parcel may hold")
        deadline = self._patience.grant(self._worker, facts.bytes, 0)
        digest = hashlib.sha256()

        def consume(data: bytes) -> None:
            digest.update(data)
            self._taker.take(data)

        self._taker.begin(index, facts)
        self._worker.send(Item(arguments=pack_value(None)))
        if message := self._worker.read(self._pipe, facts.bytes, deadline, consume):
            raise _unexpected(message)
        self._taker.finish(facts, digest.digest())
        return self._patience.grant(self._worker, 0, 0), digest.digest()


def _pipe(stack: ExitStack) -> tuple[int, int]:
    """(reading end, writing end); the stack closes the first alone."""
    ours, theirs = os.pipe2(os.O_CLOEXEC)
    stack.callback(os.close, ours)
    with suppress(PermissionError):  # over this user's share of pipe memory; the small one works too
        fcntl.fcntl(ours, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    return ours, theirs


def _memory(stack: ExitStack, content: bytes | None) -> tuple[int, ...]:
    """A descriptor of a file in memory with this content, or none."""
    if content is None:
        return ()
    file = os.memfd_create("appliance", os.MFD_CLOEXEC)
    stack.callback(os.close, file)
    os.write(file, content)
    os.lseek(file, 0, os.SEEK_SET)
    return (file,)


def _result(message: Message, kind: type[_Value]) -> _Value:
    if isinstance(message, Done):
        return _decoded(message.result, kind)
    raise _unexpected(message)


def _unexpected(message: Message) -> Exception:
    return JobFailedError(message) if isinstance(message, Failed) else WorkerLostError("it spoke out of turn")


def _decoded(raw: msgspec.Raw, kind: type[_Value]) -> _Value:
    try:
        return msgspec.msgpack.decode(raw, type=kind)
    except msgspec.MsgspecError:
        raise WorkerLostError("it spoke nonsense") from None


# What a caller of a drive must be ready for.
DRIVE_FAULTS: Final = (WorkerLostError, JobFailedError)
