"""The port: what the archive needs of a place to keep objects.

An object is written once, whole, and never changed. What is put under a key that is taken must be the very same bytes,
and is then there already; else it is refused, so that nothing is ever overwritten silently (DESIGN invariant 5).

Beside what each method names, all raise StoreError when a store over the network can't be reached now,
StoreRefusedError when it will not do what it is asked, and OSError when the local disk fails.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Final, Protocol

PIECE_BYTES: Final = 1 << 20  # of what `read` gives
LOST: Final = "Have the hub's storage checked; ask the site to send the study again."


class ObjectExistsError(Exception):
    """Other bytes are under this key already. The message names the key."""


class Store(Protocol):
    """A directory, or a bucket. Its methods block, and may be called in any thread."""

    def check(self) -> None:
        """Raises what would keep the store from being used at all."""

    def put(self, files: Iterable[tuple[str, Path]]) -> None:
        """Takes over each local file under its key; all are durable when it returns. The files may be gone then.

        Raises ObjectExistsError, DiskFullError. Some of the files may then be put, and each of those is whole.
        """

    def read(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """The bytes from `start` up to `end` (not with it; None: the last), in pieces of at most PIECE_BYTES. What is
        behind the object's last byte is left out. Raises DamagedFileError when the object is not there.
        """

    def open(self, key: str) -> BinaryIO:
        """The object's bytes, seekable. Raises DamagedFileError when it is not there."""

    def fetch(self, key: str, to: Path) -> None:
        """Copies the object to a new local file (not durable). Raises DamagedFileError when it is not there."""

    def delete(self, keys: Iterable[str]) -> None:
        """Removes objects; those that are not there are passed over."""

    def discard(self, name: str) -> None:
        """Removes every object that the parcel of this name brought, whole or torn."""

    def close(self) -> None:
        """Ends what it holds open. Nothing is to be under way."""
