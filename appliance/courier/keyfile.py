"""A file with secret keys of the age format, one a line, the one in use first; only its owner may read it.

It is what `age-keygen` writes, so that a stick can be read with any program of that format when all else fails.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import Final

from appliance.courier import cipher
from appliance.courier.faults import CourierKeyError

FILE_NAME: Final = "courier.key"
_MOST: Final = 65536


def read_keys(path: Path) -> list[str]:
    """The secret lines. Raises CourierKeyError when there are none, or others may read them; FileNotFoundError."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(_MOST).decode("ascii", "replace")
    except FileNotFoundError:
        raise
    except OSError as error:
        hint = "Run this as the user that owns it (sudo -u)."
        raise CourierKeyError(f"{path} can't be read: {error.strerror}", hint=hint) from error
    if mode & 0o077:
        raise CourierKeyError(f"{path} may be read by others", hint=f"Run: chmod 600 {path}")
    keys = [line for line in text.split() if line.startswith("AGE-SECRET-KEY-")]
    if not keys:
        raise CourierKeyError(f"{path} has no key in it")
    return keys


def keys_of(path: Path) -> list[str]:
    """The secret lines; a key is made when there is no file yet. Raises CourierKeyError."""
    try:
        return read_keys(path)
    except FileNotFoundError:
        secret, _ = cipher.new_key()
        with contextlib.suppress(FileExistsError):
            _write(path, [secret], replace=False)
        return read_keys(path)


def add_key(path: Path) -> str:
    """Makes another key, which is used from now on; the old ones still read what was encrypted to them. Returns the
    public key. Raises CourierKeyError.
    """
    secret, public = cipher.new_key()
    try:
        before = read_keys(path)
    except FileNotFoundError:
        before = []
    _write(path, [secret, *before], replace=True)
    return public


def _write(path: Path, keys: list[str], *, replace: bool) -> None:
    """Whole or not at all, durable. Raises CourierKeyError; FileExistsError when it is there and not to be replaced."""
    text = "".join(f"# public key: {cipher.public_of(key)}\n{key}\n" for key in keys)
    part = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            part.rename(path)
        else:
            path.hardlink_to(part)
        _sync(path.parent)
    except FileExistsError:
        raise
    except OSError as error:
        hint = "Run this as the user that owns that directory (sudo -u)."
        raise CourierKeyError(f"{path} can't be written: {error.strerror}", hint=hint) from error
    finally:
        part.unlink(missing_ok=True)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
