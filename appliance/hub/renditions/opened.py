"""An instance that is on its way to a peer, piece by piece."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Final, TypeAlias

from appliance.errors import DamagedFileError
from appliance.hub.archive import DAMAGED

PIECE: Final = 1 << 20
Pieces: TypeAlias = Iterator[bytes]


class Opened:
    """A Part 10 file: `bytes` of it, in this transfer syntax. The data set begins behind its file meta.

    `read(start)` gives its bytes from there on; the first read was begun when it was opened, so that it is there.
    `damaged` is told when they are not those of the digest.
    """

    def __init__(
        self,
        transfer_syntax_uid: str,
        digest: bytes,
        size: int,
        read: Callable[[int], Pieces],
        *,
        damaged: Callable[[], None] | None = None,
    ) -> None:
        self.transfer_syntax_uid, self.digest, self.bytes, self.read = transfer_syntax_uid, digest, size, read
        self._damaged = damaged
        self._pieces = read(0)
        self._first = next(self._pieces, b"")

    def __enter__(self) -> Opened:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def pieces(self) -> Iterator[bytes]:
        """All bytes, once, in pieces of 1 MiB at most; two are in memory.

        The last piece comes when the digest of all is that of the index: a damaged object never goes out whole.
        Raises DamagedFileError; StoreError, OSError.
        """
        digest, size, held = hashlib.sha256(), 0, b""
        for piece in self._every():
            digest.update(piece)
            size += len(piece)
            if held:
                yield held
            held = piece
        if (digest.digest(), size) != (self.digest, self.bytes):
            if self._damaged:
                self._damaged()
            raise DamagedFileError("The archive's copy of an instance is damaged", hint=DAMAGED)
        yield held

    def close(self) -> None:
        """Ends the read. Asked twice, or in the middle, it does no harm."""
        close = getattr(self._pieces, "close", None)
        if close:
            close()

    def _every(self) -> Iterator[bytes]:
        yield self._first
        yield from self._pieces


def local(path: Path) -> Callable[[int], Pieces]:
    """A reader of a file that may lose its name at once."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def read(start: int) -> Pieces:
        with closing(os.fdopen(descriptor, "rb")) as file:
            file.seek(start)
            while piece := file.read(PIECE):
                yield piece

    return read
