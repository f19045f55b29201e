"""A disk that forgets: what was not fsynced may be gone, there in part, or there, after a power cut.

Pure: a tree of inodes, what of it is durable, and `cut`, which draws from a seeded generator what survives. What it
promises is what POSIX promises and no more:

- data is durable after fsync of the file. Until then each page of 4 KiB is old, new, or torn at a sector; a file that
  grew has any length between, and zeros where no new page got through;
- a name (new, renamed, removed, a directory too) is durable after fsync of the directory that holds it, never by fsync
  of the file. Until then each change may survive or not, in order or out of order. A rename is one change.
"""

from __future__ import annotations

import errno
import os
import random
import stat
import time
from dataclasses import dataclass, field
from typing import Final

PAGE: Final = 4096
SECTOR: Final = 512
CALLS: Final = ("create", "write", "truncate", "fsync", "fsyncdir", "rename", "unlink", "mkdir")
_SOON: Final = 150  # mutating calls
_CHANGES_KEPT: Final = 400  # more than that unsynced: the disk has written the oldest by itself


@dataclass(eq=False)
class Inode:
    """A file (`entries` is None) or a directory; `durable…` is what a cut leaves for certain."""

    mode: int
    entries: dict[str, Inode] | None = None
    durable_entries: dict[str, Inode] = field(default_factory=dict)
    content: bytearray = field(default_factory=bytearray)
    durable: bytearray = field(default_factory=bytearray)
    dirty: set[int] = field(default_factory=set)
    changed_ns: int = field(default_factory=time.time_ns)

    def mark(self, start: int, end: int) -> None:
        """The bytes from `start` to `end` differ from what is durable."""
        self.dirty.update(range(start // PAGE, (end + PAGE - 1) // PAGE))
        self.changed_ns = time.time_ns()


@dataclass(frozen=True)
class Change:
    """One change of names: each (directory, name) gets an inode, or None. It survives whole or not at all."""

    edits: tuple[tuple[Inode, str, Inode | None], ...]

    def slots(self) -> set[tuple[int, str]]:
        """What it writes to."""
        return {(id(directory), name) for directory, name, _ in self.edits}

    def write(self) -> None:
        """Makes it durable."""
        for directory, name, inode in self.edits:
            if inode is None:
                directory.durable_entries.pop(name, None)
            else:
                directory.durable_entries[name] = inode


class PowerIsOffError(OSError):
    """What every call gets between the cut and `power_on`."""

    def __init__(self) -> None:
        super().__init__(errno.EIO, "the power is off")


class ForgetfulDisk:
    """The tree, and the log of changes of names that no fsync has made durable yet."""

    def __init__(self) -> None:
        self.root = _directory(0o755)
        self.unsynced: list[Change] = []
        self.off = False
        self.mutations = 0  # since the last `power_on`
        self.cut_at: int | None = None  # the power goes when this mutation begins …
        self.cut_call = ""  # … or, if this is given, at the next call of this name, if one comes soon
        self.cut_before = ""  # the call that did not happen any more

    # ------------------------------------------------------------ power

    def step(self, call: str) -> None:
        """Counts a mutating call that begins; the power may go instead. Raises PowerIsOffError."""
        self.check()
        self.mutations += 1
        if self._is_over(call):
            self.cut_before = call
            self.off = True
            raise PowerIsOffError

    def _is_over(self, call: str) -> bool:
        if self.cut_at is None or self.mutations < self.cut_at:
            return False
        return self.cut_call in {"", call} or self.mutations > self.cut_at + _SOON

    def check(self) -> None:
        """Raises PowerIsOffError when the power is off."""
        if self.off:
            raise PowerIsOffError

    def power_on(self, seed: int) -> None:
        """The disk as it is found after the cut; what of the unsynced survived is drawn from `seed`."""
        draw = random.Random(seed)
        for change in _surviving(self.unsynced, draw):
            change.write()
        self.root = _survivor(self.root, draw, {})
        self.unsynced, self.off, self.mutations = [], False, 0
        self.cut_at, self.cut_call, self.cut_before = None, "", ""

    # ------------------------------------------------------------ names

    def find(self, path: str) -> Inode:
        """The inode at `path`. Raises OSError(ENOENT) or OSError(ENOTDIR)."""
        self.check()
        inode = self.root
        for name in path.split("/"):
            if name:
                if inode.entries is None:
                    raise OSError(errno.ENOTDIR, path)
                if name not in inode.entries:
                    raise OSError(errno.ENOENT, path)
                inode = inode.entries[name]
        return inode

    def create(self, path: str, mode: int) -> Inode:
        """A new empty file, or the file that is there."""
        self.step("create")
        directory, name = self._slot(path)
        if name not in _entries(directory):
            self._change((directory, name, Inode(stat.S_IFREG | (mode & 0o777))))
        return _entries(directory)[name]

    def make_directory(self, path: str, mode: int) -> None:
        """Raises OSError(EEXIST)."""
        self.step("mkdir")
        directory, name = self._slot(path)
        if name in _entries(directory):
            raise OSError(errno.EEXIST, path)
        self._change((directory, name, _directory(mode)))

    def remove(self, path: str) -> None:
        """A file, or an empty directory."""
        self.step("unlink")
        directory, name = self._slot(path)
        if self.find(path).entries:
            raise OSError(errno.ENOTEMPTY, path)
        self._change((directory, name, None))

    def rename(self, old: str, new: str) -> None:
        """Replaces what is at `new`."""
        self.step("rename")
        inode = self.find(old)
        (old_directory, old_name), (new_directory, new_name) = self._slot(old), self._slot(new)
        self._change((old_directory, old_name, None), (new_directory, new_name, inode))

    def link(self, old: str, new: str) -> None:
        """A second name for a file. Raises OSError(EEXIST)."""
        self.step("link")
        directory, name = self._slot(new)
        if name in _entries(directory):
            raise OSError(errno.EEXIST, new)
        self._change((directory, name, self.find(old)))

    def _slot(self, path: str) -> tuple[Inode, str]:
        parent, _, name = path.rstrip("/").rpartition("/")
        directory = self.find(parent)
        if directory.entries is None:
            raise OSError(errno.ENOTDIR, path)
        return directory, name

    def _change(self, *edits: tuple[Inode, str, Inode | None]) -> None:
        for directory, name, inode in edits:
            if inode is None:
                _entries(directory).pop(name, None)
            else:
                _entries(directory)[name] = inode
        self.unsynced.append(Change(edits))
        if len(self.unsynced) > _CHANGES_KEPT:
            for change in self.unsynced[: _CHANGES_KEPT // 2]:
                change.write()
            del self.unsynced[: _CHANGES_KEPT // 2]

    # ------------------------------------------------------------ data

    def write(self, inode: Inode, data: bytes, offset: int) -> int:
        """As pwrite."""
        self.step("write")
        content = inode.content
        start = min(offset, len(content))
        if len(content) < offset:
            content.extend(bytes(offset - len(content)))
        content[offset : offset + len(data)] = data
        inode.mark(start, offset + len(data))
        return len(data)

    def truncate(self, inode: Inode, length: int) -> None:
        """As ftruncate, either way."""
        self.step("truncate")
        before = len(inode.content)
        if length < before:
            del inode.content[length:]
        else:
            inode.content.extend(bytes(length - before))
        inode.mark(min(length, before), max(length, before) + 1)

    def sync_file(self, inode: Inode) -> None:
        """As fsync of a file: its bytes and length, not its name."""
        self.step("fsync")
        durable = inode.durable
        del durable[len(inode.content) :]
        durable.extend(bytes(len(inode.content) - len(durable)))
        for page in inode.dirty:
            durable[page * PAGE : (page + 1) * PAGE] = inode.content[page * PAGE : (page + 1) * PAGE]
        inode.dirty.clear()

    def sync_directory(self, directory: Inode) -> None:
        """As fsync of a directory: every change of a name in it, and the earlier changes that these stand on."""
        self.step("fsyncdir")
        due: list[Change] = []
        kept: list[Change] = []
        needed: set[tuple[int, str]] = set()
        for change in reversed(self.unsynced):
            slots = change.slots()
            if needed & slots or any(edited is directory for edited, _, _ in change.edits):
                due.append(change)
                needed |= slots
            else:
                kept.append(change)
        for change in reversed(due):
            change.write()
        self.unsynced = kept[::-1]


def _directory(mode: int) -> Inode:
    return Inode(stat.S_IFDIR | (mode & 0o777), entries={})


def _entries(directory: Inode) -> dict[str, Inode]:
    if directory.entries is None:
        raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    return directory.entries


def _surviving(unsynced: list[Change], draw: random.Random) -> list[Change]:
    """Nothing, everything, what came before some moment, or any of them in order."""
    kind = draw.choice(("nothing", "everything", "before", "any"))
    if kind == "nothing":
        return []
    if kind == "before":
        return unsynced[: draw.randint(0, len(unsynced))]
    return [change for change in unsynced if kind == "everything" or draw.random() < 0.5]


def _survivor(inode: Inode, draw: random.Random, seen: dict[int, Inode]) -> Inode:
    """A fresh inode with what survived, so that a handle from before the cut reaches nothing of it."""
    if id(inode) in seen:
        return seen[id(inode)]
    fresh = seen[id(inode)] = Inode(inode.mode)
    if inode.entries is None:
        fresh.content = _surviving_bytes(inode, draw)
        fresh.durable = bytearray(fresh.content)
    else:
        fresh.entries = {name: _survivor(child, draw, seen) for name, child in sorted(inode.durable_entries.items())}
        fresh.durable_entries = dict(fresh.entries)
    return fresh


def _surviving_bytes(inode: Inode, draw: random.Random) -> bytearray:
    if not inode.dirty:
        return bytearray(inode.durable)
    kind = draw.choice(("nothing", "everything", "pages"))
    if kind == "nothing":
        return bytearray(inode.durable)
    if kind == "everything":
        return bytearray(inode.content)
    shortest, longest = sorted((len(inode.durable), len(inode.content)))
    length = draw.choice((shortest, longest, draw.randint(shortest, longest)))
    found = bytearray(inode.durable[:length]) + bytes(max(0, length - len(inode.durable)))
    for page in sorted(inode.dirty):
        written = draw.choice((0, PAGE, SECTOR * draw.randint(0, PAGE // SECTOR)))
        new = inode.content[page * PAGE : page * PAGE + written]
        found[page * PAGE : page * PAGE + len(new)] = new
    del found[length:]
    return found
