"""What survives a power cut: a file's bytes after its own fsync, its name after that of its directory."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


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
