"""Parcels whose files are there and can't be read now: they wait, and people are told why.

Only a file that is gone, or is no file, is packed anew. To do that for one that a failing cable, a wrong owner or too
many open files keep from us would pack a whole queue again for nothing, and hide what is wrong.
"""

from __future__ import annotations

import errno
import os
from typing import Final

from appliance.errors import UnreadableFileError
from appliance.logs import get_logger

_GONE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP})
_log = get_logger()


def is_gone(error: OSError) -> bool:
    """Whether there is no such file, or something else than a file in its place."""
    return error.errno in _GONE


class Unreadable:
    """Which parcels can't be read now, and why. Not for two threads."""

    def __init__(self) -> None:
        self._reasons: dict[int, str] = {}

    def note(self, parcel: int, error: OSError) -> None:
        """It could not be read. Says so if that is new."""
        reason = os.strerror(error.errno or 0)
        if parcel not in self._reasons:
            _log.error("a parcel's file can't be read", parcel=parcel, error_id=UnreadableFileError.id, reason=reason)
        self._reasons[parcel] = reason

    def forget(self, parcel: int) -> None:
        """It could be read, or it is no longer to be."""
        self._reasons.pop(parcel, None)

    @property
    def reason(self) -> str:
        """Why one of them can't be read, in the system's words; empty when there is none."""
        return next(iter(self._reasons.values()), "")

    def __len__(self) -> int:
        return len(self._reasons)
