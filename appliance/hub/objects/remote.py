"""An object of a bucket as a file to read in: windows of it are in memory, the first small, for most read a header."""

from __future__ import annotations

import io
from typing import BinaryIO, Final

from appliance.hub.objects.bucket import Bucket

_FIRST: Final = 256 << 10
_MOST: Final = 8 << 20


class _Remote(io.RawIOBase):
    """Reads in order ask for windows that grow."""

    def __init__(self, bucket: Bucket, name: str) -> None:
        super().__init__()
        self._bucket, self._name = bucket, name
        self._at, self._start, self._next = 0, 0, 4 * _FIRST
        self._held, self._size = b"", 0
        self._size = self._get(0, _FIRST)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError("before the first byte")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # what io.BufferedReader gives
        if self._at >= self._size:
            return 0
        if not self._start <= self._at < self._start + len(self._held):
            self._get(self._at, self._next)
            self._next = min(4 * self._next, _MOST)
        inside = self._at - self._start
        piece = memoryview(self._held)[inside : inside + len(buffer)]
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    def _get(self, start: int, size: int) -> int:
        """The bytes of the whole object."""
        self._held, total = self._bucket.window(self._name, start, size)
        self._start = start
        return total


def open_remote(bucket: Bucket, name: str) -> BinaryIO:
    """The object from its first byte. Raises DamagedFileError when it is not there, StoreError."""
    return io.BufferedReader(_Remote(bucket, name), 64 << 10)
