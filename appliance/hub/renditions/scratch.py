"""Directories for what is being made, on the disk of the archive. What a process leaves when it dies goes at the next
start of any.
"""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

_LOCK: Final = "lock"


class Scratch:
    """A directory of this process alone, below `root`."""

    def __init__(self, root: Path) -> None:
        root.mkdir(mode=0o750, parents=True, exist_ok=True)
        with (root / _LOCK).open("a") as all_of_it:
            fcntl.flock(all_of_it, fcntl.LOCK_EX)  # so that none is swept before its own lock is taken
            _sweep(root)
            self._directory = Path(tempfile.mkdtemp(prefix="process-", dir=root))
            self._lock = _locked(self._directory)

    @contextmanager
    def room(self) -> Iterator[Path]:
        """An empty directory, which goes with all that is in it."""
        made = Path(tempfile.mkdtemp(dir=self._directory))
        try:
            yield made
        finally:
            shutil.rmtree(made, ignore_errors=True)

    def close(self) -> None:
        """Takes this process's directory away."""
        shutil.rmtree(self._directory, ignore_errors=True)
        if self._lock:
            self._lock.close()


def _sweep(root: Path) -> None:
    for directory in root.glob("process-*"):
        lock = _locked(directory)
        if lock:
            shutil.rmtree(directory, ignore_errors=True)
            lock.close()


def _locked(directory: Path) -> IO[str] | None:
    """The open lock of a directory, which ends with its process; None when a process that lives has it."""
    try:
        file = (directory / _LOCK).open("a")
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file
