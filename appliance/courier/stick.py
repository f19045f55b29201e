"""The directory of one site on a stick: read and written by names of ours alone, no link ever followed.

    appliance-courier/SITE/list            what is on it, sealed by the unit
                          /receipts        what became of it, sealed by the hub
                          /parcels/ab/abcdef….age   a parcel, named by its digest
                          /….part          not whole: a stick was torn out; taken away by the next export

A file appears under its name only when it is whole: written beside it, fsynced, renamed, its directory fsynced. Every
name is opened relative to an open directory, so nothing that the stick holds leads out of it. All may be read by
anybody who has the stick: it is encrypted.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

from appliance.courier.faults import StickError, StickFullError, StickRefusedError

ROOT: Final = "appliance-courier"
LIST: Final = "list"
RECEIPTS: Final = "receipts"
SITES_MAX: Final = 1000
_PARCELS: Final = "parcels"
_PART: Final = ".part"
_SITE: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}", re.ASCII)
_FILE: Final = re.compile(r"([0-9a-f]{64})\.age", re.ASCII)
_FOLDER: Final = re.compile(r"[0-9a-f]{2}", re.ASCII)
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_INSIDE: Final = _DIRECTORY | os.O_NOFOLLOW
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe must not hold us
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FULL: Final = {errno.ENOSPC, errno.EDQUOT}
_NO_SYNC: Final = {errno.EINVAL, errno.ENOTSUP, errno.EROFS}  # some file systems can't fsync a directory


@contextmanager
def translated() -> Iterator[None]:
    """What the stick's file system says as an error of ours."""
    try:
        yield
    except OSError as error:
        raise stick_error(error) from error


def stick_error(error: OSError) -> StickError:
    """The same for one error."""
    if error.errno in _FULL:
        return StickFullError()
    if error.errno == errno.EFBIG:
        return StickError(
            "The stick's file system can't hold so large a file",
            hint="Format the stick with exFAT or ext4, and try again.",
        )
    return StickError(f"The stick can't be read or written: {error.strerror or type(error).__name__}")


def sites_on(directory: Path) -> tuple[list[str], int]:
    """The sites that have a directory on the stick, and how many other names there are. Raises StickError,
    StickRefusedError.
    """
    with translated(), _opened(directory, _DIRECTORY) as top:
        try:
            root = os.open(ROOT, _INSIDE, dir_fd=top)
        except FileNotFoundError as error:
            raise StickRefusedError(f"There is no {ROOT} in {directory}", hint=_NOT_A_STICK) from error
        try:
            with os.scandir(root) as entries:
                names = {
                    entry.name: entry.is_dir(follow_symlinks=False)
                    for entry, _ in zip(entries, range(SITES_MAX), strict=False)
                }
        finally:
            os.close(root)
    sites = sorted(name for name, is_directory in names.items() if is_directory and _SITE.fullmatch(name))
    return sites, len(names) - len(sites)


_NOT_A_STICK: Final = "Name the directory where the stick is mounted; a unit writes it with `appliance courier export`."


@contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    descriptor = os.open(path, flags)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


class Stick:
    """The directory of `site` on the stick that is mounted at `directory`; with `make` it is made, else it may be
    absent: then the stick has nothing of this site.

    Every method raises StickError.
    """

    def __init__(self, directory: Path, site: str, *, make: bool = False) -> None:
        self._descriptors: list[int] = []
        self._parcels: int | None = None
        with contextlib.ExitStack() as on_error, translated():
            on_error.callback(self.close)
            self._site = self._top = self._keep(os.open(directory, _DIRECTORY))
            self._absent = False
            try:
                root = self._keep(_enter(self._top, ROOT, make=make))
                self._site = self._keep(_enter(root, site, make=make))
                self._parcels = self._keep(_enter(self._site, _PARCELS, make=make))
            except FileNotFoundError:
                self._absent = self._site == self._top
            on_error.pop_all()

    def _keep(self, descriptor: int) -> int:
        self._descriptors.append(descriptor)
        return descriptor

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the stick."""
        while self._descriptors:
            os.close(self._descriptors.pop())

    def lock(self) -> None:
        """Two commands must not write to the same stick. Raises StickError. It ends with `close`."""
        try:
            fcntl.flock(self._site, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StickError("Another command works on this stick now", hint="Wait until that one is done.") from error
        except OSError:  # a file system without locks
            return

    def room(self) -> tuple[int, int]:
        """Free bytes, and the bytes that even the smallest file takes up."""
        with translated():
            facts = os.fstatvfs(self._top)
        return facts.f_bavail * facts.f_frsize, max(512, facts.f_frsize)

    # Sealed files

    def read(self, name: str, most: int) -> bytes | None:
        """The content of `list` or `receipts`; None when there is none. Raises StickRefusedError over `most` bytes."""
        if self._absent:
            return None
        with translated():
            try:
                descriptor = _open_regular(name, self._site)
            except FileNotFoundError:
                return None
            with os.fdopen(descriptor, "rb") as file:
                content = file.read(most + 1)
        if len(content) > most:
            raise StickRefusedError(f"Its {name} is longer than a {name} may be")
        return content

    def write(self, name: str, content: bytes) -> None:
        """Replaces `list` or `receipts`: the old one is there until the new one is whole and durable."""

        def fill(descriptor: int) -> None:
            view = memoryview(content)
            while view:
                view = view[os.write(descriptor, view) :]

        with translated():
            _write_whole(self._site, name, fill)

    # Parcels

    def parcels(self) -> dict[str, int]:
        """The digest of each parcel whose file is there, and the length of that file."""
        found: dict[str, int] = {}
        for folder in self._folders():
            with translated():
                inside = self._folder(folder)
                try:
                    found |= _files_in(inside)
                finally:
                    os.close(inside)
        return found

    def _folders(self) -> list[str]:
        if self._parcels is None:
            return []
        with translated(), os.scandir(self._parcels) as entries:
            return sorted(e.name for e in entries if _FOLDER.fullmatch(e.name) and e.is_dir(follow_symlinks=False))

    def open_parcel(self, digest: str) -> int:
        """A descriptor to read the file of this parcel from. Raises FileNotFoundError."""
        folder = self._folder(digest)
        try:
            return _open_regular(f"{digest}.age", folder)
        finally:
            os.close(folder)

    def write_parcel(self, digest: str, fill: Callable[[int], None]) -> None:
        """Makes the file of this parcel from what `fill` writes to the descriptor; durable when it returns."""
        with translated():
            folder = self._folder(digest, make=True)
            try:
                _write_whole(folder, f"{digest}.age", fill)
            finally:
                os.close(folder)

    def remove_parcel(self, digest: str) -> None:
        """Takes the file of this parcel away."""
        with translated(), contextlib.suppress(FileNotFoundError):
            folder = self._folder(digest)
            try:
                os.unlink(f"{digest}.age", dir_fd=folder)
            finally:
                os.close(folder)

    def remove_parts(self) -> None:
        """Takes away what a stick that was torn out has half of."""
        with translated():
            _remove_parts(self._site)
            for folder in self._folders():
                inside = self._folder(folder)
                try:
                    _remove_parts(inside)
                finally:
                    os.close(inside)

    def _folder(self, digest: str, *, make: bool = False) -> int:
        if self._parcels is None:
            raise FileNotFoundError(errno.ENOENT, "there are no parcels")
        return _enter(self._parcels, digest[:2], make=make)


def _enter(parent: int, name: str, *, make: bool) -> int:
    if make:
        try:
            os.mkdir(name, 0o755, dir_fd=parent)
            _sync(parent)
        except FileExistsError:
            pass
    return os.open(name, _INSIDE, dir_fd=parent)


def _open_regular(name: str, parent: int) -> int:
    descriptor = os.open(name, _READ, dir_fd=parent)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no file")
    return descriptor


def _files_in(folder: int) -> dict[str, int]:
    found = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            match = _FILE.fullmatch(entry.name)
            if match and entry.is_file(follow_symlinks=False):
                found[match.group(1)] = entry.stat(follow_symlinks=False).st_size
    return found


def _remove_parts(folder: int) -> None:
    with os.scandir(folder) as entries:
        parts = [e.name for e in entries if e.name.endswith(_PART) and not e.is_dir(follow_symlinks=False)]
    for name in parts:
        os.unlink(name, dir_fd=folder)


def _write_whole(folder: int, name: str, fill: Callable[[int], None]) -> None:
    part = name + _PART
    with contextlib.suppress(FileNotFoundError):
        os.unlink(part, dir_fd=folder)
    descriptor = os.open(part, _NEW, 0o644, dir_fd=folder)
    try:
        fill(descriptor)
        os.fsync(descriptor)
    except BaseException:
        with contextlib.suppress(OSError):  # a stick that is gone; the next export takes it away
            os.unlink(part, dir_fd=folder)
        raise
    finally:
        os.close(descriptor)
    os.rename(part, name, src_dir_fd=folder, dst_dir_fd=folder)
    _sync(folder)


def _sync(folder: int) -> None:
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
