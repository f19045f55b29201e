"""Encryption of what is on a stick: files in the age format (age-encryption.org/v1), X25519 and ChaCha20-Poly1305.

A file of it is authenticated chunk by chunk, its header and its end too: a changed, a missing and an added byte are
all found. Everything streams; what passes is counted and digested on the way.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import pyrage

from appliance.courier.faults import CourierKeyError, StickRefusedError

PUBLIC_KEY: Final = re.compile(r"age1[02-9ac-hj-np-z]{58}", re.ASCII)
CHUNK: Final = 1 << 16  # bytes of plain text in a chunk
_TAG: Final = 16
OVERHEAD_LEAST: Final = 200  # bytes of a header for one X25519 recipient
OVERHEAD_MOST: Final = 1024  # the library adds a stanza of random length, so that readers skip what they don't know


class Bytes(Protocol):
    """The part of a binary file that is used."""

    def read(self, size: int, /) -> bytes: ...

    def write(self, data: bytes, /) -> int: ...


class TooLongError(Exception):
    """More came out than was announced."""


class Source:
    """Reads `file`. `digest` and `bytes` are of what was read; a failure is kept as it was."""

    def __init__(self, file: Bytes, told: Callable[[int], object] = lambda _: None) -> None:
        self._file, self._told = file, told
        self._hash = hashlib.sha256()
        self.bytes = 0
        self.problem: OSError | None = None

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes, a chunk when nothing is said; empty at the end."""
        try:
            data = self._file.read(size if size >= 0 else CHUNK)
        except OSError as error:
            self.problem = error
            raise
        self._hash.update(data)
        self.bytes += len(data)
        self._told(len(data))
        return data

    @property
    def digest(self) -> str:
        """SHA-256 in hex."""
        return self._hash.hexdigest()


class Target:
    """Writes `file`, at most `most` bytes. `digest` and `bytes` are of what was written; a failure is kept."""

    def __init__(self, file: Bytes, most: int = 1 << 62) -> None:
        self._file, self._most = file, most
        self._hash = hashlib.sha256()
        self.bytes = 0
        self.problem: OSError | TooLongError | None = None

    def write(self, data: bytes) -> int:
        """All of it. Raises OSError, TooLongError."""
        try:
            self._write(data)
        except (OSError, TooLongError) as error:
            self.problem = error
            raise
        self._hash.update(data)
        self.bytes += len(data)
        return len(data)

    def _write(self, data: bytes) -> None:
        if self.bytes + len(data) > self._most:
            raise TooLongError
        view = memoryview(data)
        while view:  # an unbuffered file may take a part
            view = view[self._file.write(bytes(view)) :]

    def flush(self) -> None:
        """The library calls it."""

    @property
    def digest(self) -> str:
        """SHA-256 in hex."""
        return self._hash.hexdigest()


def sealed_bytes_max(plain: int) -> int:
    """Bytes of the file that `plain` bytes become, at most."""
    return plain + OVERHEAD_MOST + _TAG * (plain // CHUNK + 1)


def sealed_bytes_min(plain: int) -> int:
    """Bytes of the file that `plain` bytes become, at least."""
    return plain + OVERHEAD_LEAST + _TAG * max(1, -(-plain // CHUNK))


def new_key() -> tuple[str, str]:
    """A fresh pair: the secret line (`AGE-SECRET-KEY-1…`) and the public key (`age1…`)."""
    identity = pyrage.x25519.Identity.generate()
    return str(identity), str(identity.to_public())


def public_of(secret: str) -> str:
    """The public key of a secret line. Raises CourierKeyError."""
    return str(_identity(secret).to_public())


def check_public(key: str) -> str:
    """The key, when it is a public one. Raises CourierKeyError."""
    _recipient(key)
    return key


def encrypt(source: Source, target: Target, public: str) -> None:
    """Raises CourierKeyError for a key that is none, OSError for what reading or writing met."""
    recipient = _recipient(public)
    try:
        pyrage.encrypt_io(source, target, [recipient])
    except (pyrage.EncryptError, OSError) as error:
        raise (source.problem or target.problem or error) from error
    if problem := source.problem or target.problem:  # the library passes over a failure of the last write
        raise problem


def decrypt(source: Source, target: Target, secrets: Sequence[str]) -> None:
    """Raises StickRefusedError when it was not encrypted to one of these keys, was changed, or is longer than the
    target takes; OSError for what reading or writing met. What was written until then is worth nothing.
    """
    identities = [_identity(secret) for secret in secrets]
    changed: Exception | None = None
    try:
        pyrage.decrypt_io(source, target, identities)
    except (pyrage.DecryptError, OSError, TooLongError) as error:
        changed = error
    problem = source.problem or target.problem
    if isinstance(problem, OSError):
        raise problem
    if problem:
        raise StickRefusedError("It is longer than the list says") from problem
    if changed:
        raise StickRefusedError("It can't be decrypted: it was changed, or is for another key") from changed


def encrypt_bytes(data: bytes, public: str) -> bytes:
    """The same for something small."""
    out = io.BytesIO()
    encrypt(Source(io.BytesIO(data)), Target(out), public)
    return out.getvalue()


def decrypt_bytes(data: bytes, secrets: Sequence[str]) -> bytes:
    """The same for something small. Raises StickRefusedError."""
    out = io.BytesIO()
    decrypt(Source(io.BytesIO(data)), Target(out), secrets)
    return out.getvalue()


def _identity(secret: str) -> pyrage.x25519.Identity:
    try:
        return pyrage.x25519.Identity.from_str(secret)
    except pyrage.IdentityError as error:
        raise CourierKeyError("This is no secret key of the age format") from error


def _recipient(public: str) -> pyrage.x25519.Recipient:
    if not PUBLIC_KEY.fullmatch(public):
        raise CourierKeyError("This is no public key of the age format: it begins with age1 and has 62 characters")
    try:
        return pyrage.x25519.Recipient.from_str(public)
    except pyrage.RecipientError as error:
        raise CourierKeyError(
            "This public key of the age format has a mistake in it: its check digits don't fit"
        ) from error
