"""What may go wrong with a parcel or with one instance in it, each telling the caller what to do next."""

from __future__ import annotations

import errno
import os
from typing import Final

from appliance.errors import DamagedFileError, PackingError, ParcelError, UnknownDictionaryError, UnreadableFileError
from appliance.model.receipt import Refusal

_GONE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP})


def is_gone(error: OSError) -> bool:
    """Whether there is no such file, or something else than a file in its place."""
    return error.errno in _GONE


class DamagedParcelError(ParcelError):
    """A parcel's bytes are not those that its own digest names."""


class ParcelTooLargeError(ParcelError):
    """A parcel claims to hold more than its reader accepts."""


class InstanceMismatchError(ParcelError):
    """An instance did not come back byte-exact from a parcel."""


class ParcelTooSlowError(InstanceMismatchError):
    """A parcel took longer to restore than one of its size may."""


class PackingFailedError(PackingError):
    """A worker process died on this instance, or the instance did not come back byte-exact."""

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(f"An instance could not be packed: {reason}")
        self.index = index  # of the guilty source
        self.reason = reason


class DamagedSourceError(DamagedFileError):
    """A received file no longer has the digest it had when the modality sent it."""

    def __init__(self, index: int) -> None:
        super().__init__()
        self.index = index


class UnreadableSourceError(UnreadableFileError):
    """A received file is there and can't be read now: it waits, and nothing is decided about its instance."""

    def __init__(self, index: int, error_number: int) -> None:
        super().__init__(f"A received file can't be read now: {os.strerror(error_number)}")
        self.index = index
        self.error_number = error_number  # of `errno`


def source_error(index: int, error: OSError) -> DamagedSourceError | UnreadableSourceError:
    """What it means that the received file of this index can't be opened or read."""
    return DamagedSourceError(index) if is_gone(error) else UnreadableSourceError(index, error.errno or errno.EIO)


def refusal_of(error: ParcelError) -> Refusal:
    """The word that tells the unit what to do about a parcel that `WorkerPool.unpack` refused."""
    if isinstance(error, UnknownDictionaryError):
        return Refusal.DICTIONARY
    if isinstance(error, InstanceMismatchError):
        return Refusal.INSTANCE
    if isinstance(error, DamagedParcelError):
        return Refusal.DIGEST
    return Refusal.FORMAT


class PoolClosedError(Exception):
    """The pool was closed while it worked; nothing was decided about the instances."""


class WorkerLostError(Exception):
    """A worker process died, or was ended because it took too long. The pool's own methods turn it into a fault."""
