"""The spool: one durable Part 10 file for each received instance, under names of our own.

What the system promises, and what it does not: a written file survives a power cut only after fsync(file); its new
name only after fsync(directory); rename is atomic but not durable. So an instance goes `incoming/NAME.part`, written →
fsync → rename to `DD/NAME.dcm` → fsync(DD) → row committed, and only then may anyone be told.

A cut between the rename and the commit leaves a file that no row names. It can be found without looking at a million
others: all files that were renamed after row L was committed lie in the directory that L gives (`directory_of`), so
start-up compares that one directory with the rows.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import io
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from appliance.errors import ApplianceError, DicomError, DiskFullError, SpoolError, TooLargeError
from appliance.model.identity import InstanceIdentity
from appliance.part10.identity import identity_in, read_identity
from appliance.part10.meta import FileMeta, encode_prefix

INCOMING: Final = "incoming"
_DIRECTORIES: Final = 256
_FILES_IN_A_ROW: Final = 1024  # in one directory before the next is used
_HEAD_BYTES: Final = 1 << 16  # kept in memory, so that the identity is read without opening the file again
_SYNC_EVERY: Final = 32 << 20  # bytes; the last fsync of a huge object must not outlast the modality's patience
_CHECK_EVERY: Final = 16 << 20  # bytes between two looks at the free space
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def directory_of(last_id: int) -> str:
    """The directory that takes new files while `last_id` is the id of the last committed instance."""
    return f"{last_id // _FILES_IN_A_ROW % _DIRECTORIES:02x}"


def disk_error(error: OSError) -> ApplianceError:
    """What a failed write means for a person."""
    if error.errno in _FULL:
        return DiskFullError()
    return SpoolError(f"The spool can't be written: {error.strerror}")


@dataclass(frozen=True, slots=True)
class Sealed:
    """A whole instance in `incoming/`, fsynced. `digest`: SHA-256 of the `size` bytes of its data set."""

    path: Path
    digest: bytes
    size: int


class Incoming:
    """One instance on its way in. Its memory does not grow with the object. Not for two threads.

    After any error, or `discard`, its file is gone.
    """

    def __init__(self, spool: Spool, meta: FileMeta, *, size_max: int) -> None:
        self._spool, self._meta, self._size_max = spool, meta, size_max
        self.path = spool.incoming / f"{secrets.token_hex(16)}.part"
        self._hash = hashlib.sha256()
        self._head = bytearray()
        self._size = self._unsynced = self._unchecked = 0
        prefix = encode_prefix(meta)
        self._prefix_size = len(prefix)
        spool.check_room()
        try:
            self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise disk_error(error) from error
        self._before = prefix  # is written with what comes first

    def write(self, fragment: bytes | memoryview) -> None:
        """Appends a part of the data set. Raises TooLargeError, DiskFullError or SpoolError."""
        self._size += len(fragment)
        if self._size > self._size_max:
            self.discard()
            raise TooLargeError
        if len(self._head) < _HEAD_BYTES:
            self._head += fragment[: _HEAD_BYTES - len(self._head)]
        self._hash.update(fragment)
        self._write(fragment)
        self._unchecked += len(fragment)
        if self._unchecked >= _CHECK_EVERY:
            self._look_at_the_disk()

    def _write(self, data: bytes | memoryview) -> None:
        try:
            rest = [piece for piece in (self._before, data) if piece]
            self._before = b""
            while rest:
                written = os.writev(self._fd, rest)
                self._unsynced += written
                rest = _after(rest, written)
            if self._unsynced >= _SYNC_EVERY:
                os.fdatasync(self._fd)
                self._unsynced = 0
        except OSError as error:
            self.discard()
            raise disk_error(error) from error

    def _look_at_the_disk(self) -> None:
        self._unchecked = 0
        try:
            self._spool.check_room()
        except ApplianceError:
            self.discard()
            raise

    def identity(self) -> InstanceIdentity:
        """Who and what this is. Raises DicomError when it can't be told; the file stays until `discard`."""
        syntax = self._meta.transfer_syntax_uid
        plain = identity_in(self._head, syntax)
        if plain:
            return plain
        head = io.BytesIO(self._head)
        if self._size <= len(self._head):
            return read_identity(head, syntax, self._size)
        with contextlib.suppress(DicomError):
            identity = read_identity(head, syntax, self._size)
            if head.tell() < len(self._head):  # else it may have met the end of the head and not of the data set
                return identity
        with self._reopened() as stream:
            return read_identity(stream, syntax, self._size)

    def _reopened(self) -> BinaryIO:
        try:
            stream = self.path.open("rb")
            stream.seek(self._prefix_size)
        except OSError as error:
            raise disk_error(error) from error
        return stream

    def seal(self) -> Sealed:
        """Makes the bytes durable. Raises DiskFullError or SpoolError."""
        self._write(b"")
        try:
            os.fsync(self._fd)
        except OSError as error:
            self.discard()
            raise disk_error(error) from error
        self._close()
        return Sealed(self.path, self._hash.digest(), self._size)

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            with contextlib.suppress(OSError):  # what could fail here was told by fsync
                os.close(fd)

    def discard(self) -> None:
        """Removes it. Does nothing when it is gone."""
        self._close()
        remove(self.path)


def _after(pieces: list[bytes | memoryview], count: int) -> list[bytes | memoryview]:
    """What is left of the pieces when their first `count` bytes are written."""
    while pieces and count >= len(pieces[0]):
        count -= len(pieces[0])
        pieces = pieces[1:]
    return [pieces[0][count:], *pieces[1:]] if count else pieces


def remove(path: Path) -> None:
    """Removes a file if it is there and can be; what stays in `incoming/` goes at the next start."""
    with contextlib.suppress(OSError):
        path.unlink()


class Spool:
    """The directory `spool/`; `prepare` before use. Only one receiver may use it at a time."""

    def __init__(self, root: Path, *, reserve_bytes: int) -> None:
        self.root, self.incoming = root, root / INCOMING
        self._reserve_bytes = reserve_bytes
        self._lock: int | None = None

    def prepare(self) -> None:
        """Makes the directories, takes the lock and removes what was being received when we last ended."""
        try:
            self._make_directories()
            self._lock = os.open(self.root / "receive.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for entry in os.scandir(self.root / INCOMING):
                Path(entry.path).unlink()
        except BlockingIOError as error:
            raise SpoolError("Another `appliance receive` uses this data directory", hint="End it first.") from error
        except OSError as error:
            raise disk_error(error) from error

    def _make_directories(self) -> None:
        names = [INCOMING, *(f"{number:02x}" for number in range(_DIRECTORIES))]
        for name in names:
            (self.root / name).mkdir(mode=0o750, parents=True, exist_ok=True)
        # The data directory may be new too, and then its own name is in its parent.
        for directory in (self.root, self.root.parent, self.root.parent.parent):
            sync_directory(directory)

    def release(self) -> None:
        """Gives the lock back."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def check_room(self) -> None:
        """Raises DiskFullError when less than the reserve is free, SpoolError when that can't be told."""
        try:
            disk = os.statvfs(self.root)
        except OSError as error:
            raise disk_error(error) from error
        if disk.f_bavail * disk.f_frsize < self._reserve_bytes:
            raise DiskFullError

    def open(self, meta: FileMeta, *, size_max: int) -> Incoming:
        """A new file in `incoming/`. `size_max`: bytes of the data set. Raises DiskFullError or SpoolError."""
        return Incoming(self, meta, size_max=size_max)

    def place(self, sealed: Sealed, directory: str) -> str:
        """Renames into `directory`; the name is durable after `sync`. Returns the file's name below `spool/`."""
        file = f"{directory}/{directory}{sealed.path.stem[2:]}.dcm"
        os.rename(sealed.path, f"{self.root}/{file}")  # noqa: PTH104 - a Path for each file is a tenth of our time
        return file

    def sync(self, directory: str) -> None:
        """Makes the names in `directory` durable. Raises OSError."""
        sync_directory(self.root / directory)

    def files_in(self, directory: str) -> set[str]:
        """The files of one directory, as `DD/NAME.dcm`."""
        return {f"{directory}/{entry.name}" for entry in os.scandir(self.root / directory)}

    def path(self, file: str) -> Path:
        """Where a file of a row lies."""
        return self.root / file


def sync_directory(directory: Path) -> None:
    """fsync of a directory: names made, changed or removed in it before are durable afterwards. Raises OSError."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
