"""The process behind `lossyfs.LossyMount`: serves one mount until it is unmounted.

Commands come on standard input and answers go to standard output, one JSON object a line; a line `{"cut": true}` says
that the power has just gone.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any

import mfusepy
from forgetful_disk import ForgetfulDisk, Inode, PowerIsOffError


def _tell(**answer: Any) -> None:
    os.write(1, json.dumps(answer).encode() + b"\n")


class Shell(mfusepy.Operations):  # type: ignore[misc]
    """Paths and handles of FUSE to inodes of the self.disk. `flag_no…`: calls on a handle come without a path."""

    use_ns = True
    flag_nopath = True
    flag_nullpath_ok = True

    def __init__(self) -> None:
        self.disk = ForgetfulDisk()
        self._guard = threading.Lock()
        self.handles: dict[int, Inode] = {}
        self.last = 0

    def open_inode(self, inode: Inode) -> int:
        self.last += 1
        self.handles[self.last] = inode
        return self.last

    def of(self, path: str | None, handle: int | None) -> Inode:
        if handle:
            self.disk.check()
            if handle not in self.handles:
                raise OSError(errno.EIO, "a handle from before the cut")
            return self.handles[handle]
        return self.disk.find(path or "/")

    def getattr(self, path: str | None, fh: int | None = None) -> dict[str, int]:
        with self._guard:
            inode = self.of(path, fh)
            links = 2 if inode.entries is not None else 1
            times = dict.fromkeys(("st_mtime", "st_ctime", "st_atime"), inode.changed_ns)
            size = len(inode.content)
            return {"st_mode": inode.mode, "st_nlink": links, "st_size": size, "st_blocks": size // 512, **times}

    def readdir(self, path: str, fh: int) -> list[str]:
        with self._guard:
            return [".", "..", *(self.of(path, fh).entries or {})]

    def create(self, path: str, mode: int, fi: Any = None) -> int:
        with self.mutation():
            return self.open_inode(self.disk.create(path, mode))

    def open(self, path: str, flags: int) -> int:
        with self._guard:
            return self.open_inode(self.disk.find(path))

    def opendir(self, path: str) -> int:
        return self.open(path, 0)

    def read(self, path: str | None, size: int, offset: int, fh: int) -> bytes:
        with self._guard:
            return bytes(self.of(path, fh).content[offset : offset + size])

    def write(self, path: str | None, data: bytes, offset: int, fh: int) -> int:
        with self.mutation():
            return self.disk.write(self.of(path, fh), data, offset)

    def truncate(self, path: str | None, length: int, fh: int | None = None) -> None:
        with self.mutation():
            self.disk.truncate(self.of(path, fh), length)

    def fsync(self, path: str | None, datasync: int, fh: int) -> None:
        with self.mutation():
            self.disk.sync_file(self.of(path, fh))

    def fsyncdir(self, path: str | None, datasync: int, fh: int) -> None:
        with self.mutation():
            self.disk.sync_directory(self.of(path, fh))

    def mkdir(self, path: str, mode: int) -> None:
        with self.mutation():
            self.disk.make_directory(path, mode)

    def unlink(self, path: str) -> None:
        with self.mutation():
            self.disk.remove(path)

    def rmdir(self, path: str) -> None:
        self.unlink(path)

    def rename(self, old: str, new: str) -> None:
        with self.mutation():
            self.disk.rename(old, new)

    def link(self, target: str, source: str) -> None:
        with self.mutation():
            self.disk.link(source, target)

    def release(self, path: str | None, fh: int) -> None:
        with self._guard:
            self.handles.pop(fh, None)

    def releasedir(self, path: str | None, fh: int) -> None:
        self.release(path, fh)

    def chmod(self, path: str | None, mode: int, fh: int | None = None) -> None:
        with self._guard:
            inode = self.of(path, fh)
            inode.mode = (inode.mode & ~0o777) | (mode & 0o777)

    def chown(self, path: str, uid: int, gid: int) -> None:
        """Everything belongs to whoever runs the test."""

    def utimens(self, path: str, times: tuple[int, int] | None = None) -> None:
        """Times are no part of what is tested."""

    def flush(self, path: str | None, fh: int) -> None:
        """close(2) promises nothing."""

    def statfs(self, path: str) -> dict[str, int]:
        free = 1 << 22
        return {"f_bsize": 4096, "f_frsize": 4096, "f_blocks": free, "f_bfree": free, "f_bavail": free}

    @contextlib.contextmanager
    def mutation(self) -> Iterator[None]:
        """Tells when the power goes at the call inside."""
        with self._guard:
            was_off = self.disk.off
            try:
                yield
            except PowerIsOffError:
                if not was_off:
                    _tell(cut=True)
                raise

    def obey(self, command: dict[str, Any]) -> dict[str, Any]:
        """One command of `LossyMount`."""
        with self._guard:
            match command["do"]:
                case "arm":
                    self.disk.cut_at = self.disk.mutations + command["after"]
                    self.disk.cut_call = command["call"]
                case "cut":
                    self.disk.off, self.disk.cut_before = True, "nothing"
                case "power_on":
                    cut_before = self.disk.cut_before
                    self.disk.power_on(command["seed"])
                    self.handles.clear()
                    return {"cut_before": cut_before}
            return {"mutations": self.disk.mutations}

    def listen(self) -> None:
        """Obeys until standard input ends."""
        for line in sys.stdin:
            _tell(**self.obey(json.loads(line)))


def main(directory: str) -> None:
    """Mounts on `directory`. Nothing is cached by name, so that after a cut nobody sees what was before."""
    shell = Shell()
    threading.Thread(target=shell.listen, daemon=True).start()
    options = {"attr_timeout": 0, "entry_timeout": 0, "negative_timeout": 0, "hard_remove": True}
    mfusepy.FUSE(shell, directory, foreground=True, nothreads=True, fsname="forgetful", **options)


if __name__ == "__main__":
    main(sys.argv[1])
