"""Writes uploads durably: an offset is given out only when that many bytes, and the row that says so, are fsynced.

The length of the file proves nothing: after a power cut a file system may have grown it without its bytes. So the
offset lives in the index, is written after the file's fsync, and the file is cut back to it before more is written.
"""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from appliance.errors import DiskFullError
from appliance.hub.credentials import Credential, accepts
from appliance.hub.durable import free_bytes, sync_directory
from appliance.hub.index import parcels, sites
from appliance.hub.index.database import Index
from appliance.hub.index.parcels import Parcel
from appliance.hub.uptime import Uptime
from appliance.logs import get_logger
from appliance.upload import server as tus

FLUSH_BYTES: Final = 512 << 10  # at most this much, and what came within the next second, is lost by a power cut
FLUSH_SECONDS: Final = 1.0

log = get_logger()


class RevokedError(Exception):
    """The site's credential ended while its request went on."""


class Hold:
    """One request's hold on an upload. `ended` is set when a newer request wants it; `waits_for` is the older one."""

    def __init__(self, earlier: Hold | None) -> None:
        self.ended = asyncio.Event()
        self._released = asyncio.Event()
        self.waits_for = earlier

    def release(self) -> None:
        """Lets the next one have it."""
        self._released.set()

    async def gone(self) -> None:
        """Returns when this hold, and every one before it, was released."""
        await self._released.wait()
        await self.await_earlier()

    async def await_earlier(self) -> None:
        """Returns when every hold before this one was released."""
        if self.waits_for:
            await self.waits_for.gone()
            self.waits_for = None


class Holds:
    """One request at a time writes to an upload; the newest wins (docs/protocol.md §Locks)."""

    def __init__(self) -> None:
        self._latest: dict[str, Hold] = {}

    @asynccontextmanager
    async def take(self, name: str) -> AsyncIterator[Hold]:
        """Ends the request that has the upload, waits until what it wrote is safe, and holds it.

        Raises TusError 423 when a newer request came meanwhile.
        """
        earlier = self._latest.get(name)
        hold = self._latest[name] = Hold(earlier)
        try:
            if earlier:
                earlier.ended.set()
                await hold.await_earlier()
            if hold.ended.is_set():
                raise tus.superseded()
            yield hold
        finally:
            if self._latest.get(name) is hold:
                del self._latest[name]
                if hold.waits_for:  # cancelled while it waited: the next one waits in its stead
                    self._latest[name] = hold.waits_for
            hold.release()

    def is_held(self, name: str) -> bool:
        """Whether some request has this upload now."""
        return name in self._latest

    def end_all(self) -> None:
        """Ends every request that holds an upload: the hub stops."""
        for hold in self._latest.values():
            hold.ended.set()


class Writer:
    """Appends to the file of one upload. Its methods block: call them in a thread.

    A request that is cancelled leaves a method running in its thread. So `close` waits: a descriptor that is closed
    under a write may by then be that of another file.
    """

    def __init__(self, intake: Intake, parcel: Parcel, credential: Credential) -> None:
        self._intake, self._parcel, self._credential = intake, parcel, credential
        self._in_use = threading.RLock()
        self._file = os.open(intake.path(parcel.name), os.O_RDWR | os.O_CLOEXEC)
        self._at = parcel.offset
        try:
            os.ftruncate(self._file, self._at)
        except OSError:
            os.close(self._file)
            raise

    def append(self, data: bytes) -> int:
        """Makes the bytes durable and returns how many bytes of the upload now are. With the last one the parcel
        waits for its check. Raises RevokedError, DiskFullError, TusError 404 when the upload was taken back.
        """
        with self._in_use:
            self.write(data)
            return self.commit()

    def write(self, data: bytes) -> None:
        """Writes behind what was written, without a promise. Raises DiskFullError."""
        if self._intake.free_bytes() < len(data):
            raise DiskFullError("The hub's disk is nearly full")
        view = memoryview(data)
        with self._in_use:
            while view:
                written = os.pwrite(self._file, view, self._at)
                self._at += written
                view = view[written:]

    def commit(self) -> int:
        """Makes what was written durable, then says so in the index; returns the new offset."""
        with self._in_use:
            os.fsync(self._file)
            self._say(self._at)
        return self._at

    def _say(self, offset: int) -> None:
        with self._intake.index.write() as connection:
            if not accepts(sites.find(connection, self._credential.site), self._credential):
                raise RevokedError
            if not parcels.set_offset(connection, self._parcel.name, offset, self._intake.uptime.moment()):
                raise tus.not_found()

    def close(self) -> None:
        """Bytes that were written and not committed are cut off when the upload goes on."""
        with self._in_use:
            os.close(self._file)


class Intake:
    """The directory of uploads. Blocking: call in a thread."""

    def __init__(self, index: Index, uptime: Uptime, data: Path, reserve_bytes: int) -> None:
        self.index, self.uptime = index, uptime
        self._directory = data / "uploads"
        self._reserve = reserve_bytes

    def path(self, name: str) -> Path:
        """The file of the upload; `name` is from the index."""
        return self._directory / name

    def free_bytes(self) -> int:
        """Bytes that may still be written above the reserve."""
        return free_bytes(self._directory) - self._reserve

    def make_file(self, name: str) -> None:
        """An empty file of this name, durable. Raises DiskFullError."""
        try:
            with self.path(name).open("xb") as file:
                os.fsync(file.fileno())
            sync_directory(self._directory)
        except OSError as error:
            raise translated(error) from error

    def true_offset(self, parcel: Parcel) -> int:
        """The durable offset. When the disk lost the file, or part of it, that is recorded and said: better sent
        again than a parcel that never becomes whole.
        """
        path = self.path(parcel.name)
        size = path.stat().st_size if path.exists() else -1
        if size >= parcel.offset:
            return parcel.offset
        log.error("an upload's file is shorter than it was", parcel=parcel.id, bytes=size, offset=parcel.offset)
        if size < 0:
            self.make_file(parcel.name)
        offset = max(size, 0)
        with self.index.write() as connection:
            parcels.set_offset(connection, parcel.name, offset, self.uptime.moment())
        return offset

    def remove_file(self, name: str) -> None:
        """Removes the upload's file; its row is gone or settled."""
        self.path(name).unlink(missing_ok=True)


def translated(error: OSError) -> Exception:
    """A full disk as DiskFullError; anything else as it is."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return DiskFullError("The hub's disk is full")
    return error
