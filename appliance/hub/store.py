"""Where archived objects are: a small port, and its implementation in a directory.

Keys are ours alone: `archive/DD/NAME/000001.dcm`. An object is written once, whole, and never changed.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from appliance.errors import DamagedFileError

_KEY: Final = re.compile(r"archive/[0-9a-f]{2}/[0-9a-f]{32}/[0-9]{6}\.(dcm|recipe|header)", re.ASCII)


def key_of(name: str, position: int, kind: str) -> str:
    """The key of an object that a parcel brought; `name` is our name of the parcel, `kind` dcm, recipe or header.

    The same parcel checked again after a power cut gives the same keys, so what the first try left is written over.
    """
    return f"archive/{name[:2]}/{name}/{position:06d}.{kind}"


class Store(Protocol):
    """What the archive needs of a place to keep objects."""

    def put(self, files: Iterable[tuple[str, Path]]) -> None:
        """Takes over each local file under its key; all are durable when it returns. The files may be gone then."""

    def open(self, key: str) -> BinaryIO:
        """The object's bytes, seekable. Raises DamagedFileError when it is not there."""

    def fetch(self, key: str, to: Path) -> None:
        """Copies the object to a local file (not durable). Raises DamagedFileError when it is not there."""

    def delete(self, keys: Iterable[str]) -> None:
        """Removes objects; those that are not there are passed over."""

    def discard(self, name: str) -> None:
        """Removes every object that the parcel of this name brought."""


class DirectoryStore:
    """Objects as files below a directory. `put` renames, so the files are to be on the same file system."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, files: Iterable[tuple[str, Path]]) -> None:
        """Each file is fsynced before its rename, each directory after, so a name never stands for half an object."""
        directories = set()
        for key, source in files:
            target = self._path(key)
            make_directories(target.parent, self._root)
            sync_file(source)
            source.rename(target)
            directories.add(target.parent)
        for directory in directories:
            sync_directory(directory)

    def open(self, key: str) -> BinaryIO:
        """As the port says."""
        try:
            return self._path(key).open("rb")
        except FileNotFoundError as error:
            raise DamagedFileError(f"The archive lacks {key}", hint=_LOST) from error

    def fetch(self, key: str, to: Path) -> None:
        """As the port says."""
        with self.open(key) as source, to.open("xb") as target:
            shutil.copyfileobj(source, target, 1 << 20)

    def delete(self, keys: Iterable[str]) -> None:
        """As the port says; directories that are empty then go too."""
        for key in keys:
            path = self._path(key)
            path.unlink(missing_ok=True)
            try:
                path.parent.rmdir()
            except OSError:  # not empty, or gone: both as it should be
                continue

    def discard(self, name: str) -> None:
        """As the port says."""
        shutil.rmtree(self._path(key_of(name, 0, "dcm")).parent, ignore_errors=True)

    def _path(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise DamagedFileError("The index names an object by a key that is not ours")
        return self._root / key


_LOST: Final = "Have the hub's disk checked; ask the site to send the study again."


def sync_file(path: Path) -> None:
    """The file's bytes would survive a power cut when this returns."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_directory(path: Path) -> None:
    """The names in the directory would survive a power cut when this returns."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directories(path: Path, root: Path) -> None:
    """Makes `path` below `root`, each new directory durable in its parent."""
    missing = []
    while path != root and not path.is_dir():
        missing.append(path)
        path = path.parent
    for directory in reversed(missing):
        directory.mkdir(exist_ok=True)
        sync_directory(directory.parent)


def free_bytes(path: Path) -> int:
    """Bytes that this user may still write on the file system of `path`."""
    return shutil.disk_usage(path).free
