"""What may go wrong with a parcel or with one instance in it, each telling the caller what to do next."""

from __future__ import annotations

from appliance.errors import ApplianceError, DamagedFileError, ParcelError, UnknownDictionaryError
from appliance.model.receipt import Refusal


class DamagedParcelError(ParcelError):
    """A parcel's bytes are not those that its own digest names."""


class InstanceMismatchError(ParcelError):
    """An instance did not come back byte-exact from a parcel."""


class PackingFailedError(ApplianceError):
    """An instance could not be packed: the worker process died on it, or it did not come back byte-exact."""

    id = "E403"
    exit_code = 4
    hint = "The instance goes as plain bytes next; when that fails too, send the study again from the modality."

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(f"{type(self).__doc__} ({reason})")
        self.index = index  # of the guilty source
        self.reason = reason


class DamagedSourceError(DamagedFileError):
    """A received file no longer has the digest it had when the modality sent it."""

    def __init__(self, index: int) -> None:
        super().__init__()
        self.index = index


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
