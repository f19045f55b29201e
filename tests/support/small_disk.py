"""A real small file system (tmpfs), and a ballast file that fills it to the byte."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self


class SmallDisk:
    """A tmpfs of `size` bytes on `directory`. Needs root."""

    def __init__(self, directory: Path, size: int) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self._ballast = directory / "ballast"
        self._reader: sqlite3.Connection | None = None
        options = ["-o", f"size={size},mode=755"]
        subprocess.run(["mount", "-t", "tmpfs", *options, "small", str(directory)], check=True)

    def fill(self, leave: int) -> None:
        """Leaves about `leave` bytes free (whole pages; processes that write take what they can)."""
        while (free := self.free()) > leave + 4096:
            with self._ballast.open("ab") as file, contextlib.suppress(OSError):
                file.write(bytes(min(free - leave, 1 << 20) // 4096 * 4096))
                file.flush()

    def fill_until_full_for(self, database: Path) -> None:
        """To the byte: what SQLite's log of `database` still has room for inside is taken too. Changes no row.

        A reader that stays until `make_room` keeps the log from beginning anew, for which it needs no room.
        """
        if self._reader is None:
            self._reader = sqlite3.connect(database, timeout=30, isolation_level=None)
            self._reader.execute("BEGIN")
            self._reader.execute("SELECT count(*) FROM sqlite_master").fetchone()
        connection = sqlite3.connect(database, timeout=30, isolation_level=None)
        with contextlib.closing(connection), contextlib.suppress(sqlite3.OperationalError):
            for number in range(1_000_000):
                self.fill(leave=0)
                connection.execute(f"PRAGMA application_id = {number}")

    def make_room(self) -> None:
        """Removes the ballast."""
        self._ballast.unlink(missing_ok=True)
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def free(self) -> int:
        """Bytes that may be written."""
        status = os.statvfs(self.directory)
        return status.f_bavail * status.f_frsize

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.make_room()
        subprocess.run(["umount", "-l", str(self.directory)], check=True)
