"""Objects as files below a directory of this machine."""

from __future__ import annotations

import filecmp
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from appliance.errors import DamagedFileError
from appliance.hub.durable import make_directories, sync_directory, sync_file
from appliance.hub.objects.keys import checked, folder_of
from appliance.hub.objects.store import LOST, PIECE_BYTES, ObjectExistsError


class DirectoryStore:
    """`put` gives the file a second name, so the files are to be on the same file system."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def check(self) -> None:
        """As the port says; the hub makes and tries its directories itself."""

    def put(self, files: Iterable[tuple[str, Path]]) -> None:
        """Each file is fsynced before it gets its name, each directory after: no name stands for half an object."""
        directories = set()
        for key, source in files:
            target = self._path(key)
            make_directories(target.parent, self._root)
            sync_file(source)
            _take(source, target, key)
            directories.add(target.parent)
        for directory in directories:
            sync_directory(directory)

    def read(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """As the port says."""
        with self.open(key) as file:
            file.seek(start)
            at = start
            while piece := file.read(PIECE_BYTES if end is None else max(0, min(PIECE_BYTES, end - at))):
                at += len(piece)
                yield piece

    def open(self, key: str) -> BinaryIO:
        """As the port says."""
        try:
            return self._path(key).open("rb")
        except FileNotFoundError as error:
            raise DamagedFileError(f"The archive lacks {key}", hint=LOST) from error

    def fetch(self, key: str, to: Path) -> None:
        """As the port says."""
        with self.open(key) as source, to.open("xb") as target:
            shutil.copyfileobj(source, target, PIECE_BYTES)

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
        shutil.rmtree(self._root / folder_of(name), ignore_errors=True)

    def close(self) -> None:
        """As the port says: nothing is open."""

    def _path(self, key: str) -> Path:
        return self._root / checked(key)


def _take(source: Path, target: Path, key: str) -> None:
    """Names the file `target`, unless that name is taken: a rename would not ask. Raises ObjectExistsError."""
    try:
        os.link(source, target)
    except FileExistsError as error:
        if not filecmp.cmp(source, target, shallow=False):
            raise ObjectExistsError(f"{key} is there already, with other bytes") from error
    source.unlink()
