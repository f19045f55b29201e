"""SHA-256 of files, computed outside the sandbox."""

from __future__ import annotations

import hashlib
import os
from typing import BinaryIO, Final

from appliance.compress.parcel import TRAILER_BYTES

_COPY: Final = 1 << 20


def parcel_digests(file: BinaryIO) -> tuple[bytes, bool]:
    """SHA-256 of the whole file, and whether its trailer is that of all before it."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    whole = hashlib.sha256()
    left = max(0, size - TRAILER_BYTES)
    while left and (piece := file.read(min(left, _COPY))):
        whole.update(piece)
        left -= len(piece)
    before = whole.digest()
    trailer = file.read(TRAILER_BYTES)
    whole.update(trailer)
    return whole.digest(), trailer == before


def digest_from(file: BinaryIO, offset: int) -> bytes:
    """SHA-256 of what comes after the first `offset` bytes."""
    file.seek(offset)
    digest = hashlib.sha256()
    while piece := file.read(_COPY):
        digest.update(piece)
    return digest.digest()
