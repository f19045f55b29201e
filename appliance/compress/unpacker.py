"""Restores the instances of a parcel that came from elsewhere."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from appliance.compress.digests import parcel_digests
from appliance.compress.drive import DRIVE_FAULTS, JobFailedError, drive_show, drive_unpack
from appliance.compress.faults import (
    DamagedParcelError,
    InstanceMismatchError,
    ParcelTooLargeError,
    ParcelTooSlowError,
    PoolClosedError,
    WorkerLostError,
)
from appliance.compress.nursery import Nursery
from appliance.compress.parcel import NO_DICTIONARY, PREAMBLE_BYTES, Preamble, preamble_of, read_preamble
from appliance.compress.patience import Patience
from appliance.compress.read import ParcelFacts
from appliance.compress.show import ShowRequest
from appliance.compress.takers import Files
from appliance.compress.values import PartPreviews, RestoredParcel
from appliance.config import Compress
from appliance.errors import ParcelError, UnknownDictionaryError
from appliance.model.priority import Priority

_GLANCE_SECONDS: Final = 20.0
_PARCEL_FAULTS: Final = {"format": ParcelError, "too large": ParcelTooLargeError}


class Unpacker:
    """The pool's way from a parcel to files. Thread-safe."""

    def __init__(self, nursery: Nursery, limits: Compress) -> None:
        self._nursery = nursery
        self._patience = Patience(limits.cpu_seconds, limits.wall_seconds)
        # A few small images take a second; no hostile part may keep others from being looked at.
        self._glance = Patience(min(limits.cpu_seconds, _GLANCE_SECONDS), min(limits.wall_seconds, _GLANCE_SECONDS))

    def unpack(
        self,
        parcel: Path,
        dictionaries: Callable[[bytes], bytes | None],
        into: Path,
        *,
        restored_bytes_max: int,
    ) -> RestoredParcel:
        """See `WorkerPool.unpack`."""
        with parcel.open("rb") as file:
            digest, sealed = parcel_digests(file)
            if not sealed:
                raise DamagedParcelError
            preamble = preamble_of(file)
            taker = Files(into)
            try:
                facts = self._unpack(file, _resolved(preamble, dictionaries), restored_bytes_max, taker)
                priority = _priority(facts.priority)
            except BaseException:
                taker.remove_all()
                raise
        return RestoredParcel(
            digest=digest,
            study_instance_uid=facts.study,
            site=facts.site,
            priority=priority,
            instances=tuple(taker.restored),
        )

    def previews(
        self, part: Path, length: int, have: int, after: int, dictionaries: Callable[[bytes], bytes | None]
    ) -> PartPreviews:
        """See `WorkerPool.previews`."""
        with part.open("rb") as file:
            preamble = read_preamble(os.pread(file.fileno(), PREAMBLE_BYTES, 0), length)
            if have < preamble.front_at:
                return PartPreviews(previews=(), after=after, complete=False)
            dictionary = _resolved(preamble, dictionaries)
            request = ShowRequest(length=length, have=have, after=after)
            patience = self._glance.for_parcel(0, time.monotonic())
            with _as_parcel_faults(self._nursery, patience), self._nursery.lend() as worker:
                drawn, result = drive_show(worker, file, dictionary, request, patience)
        return PartPreviews(previews=tuple(drawn), after=result.after, complete=result.complete)

    def _unpack(self, file: BinaryIO, dictionary: bytes | None, restored_bytes_max: int, taker: Files) -> ParcelFacts:
        patience = self._patience.for_parcel(os.fstat(file.fileno()).st_size, time.monotonic())
        with _as_parcel_faults(self._nursery, patience), self._nursery.lend() as worker:
            facts, digests = drive_unpack(worker, file, dictionary, restored_bytes_max, patience, taker)
        if digests != facts.digests:
            raise InstanceMismatchError
        return facts


@contextmanager
def _as_parcel_faults(workers: Nursery, patience: Patience) -> Iterator[None]:
    """A worker that is lost or gives up says something about the parcel that it was given."""
    try:
        yield
    except DRIVE_FAULTS as error:
        if workers.closed:
            raise PoolClosedError from None
        if isinstance(error, JobFailedError) and error.fault in _PARCEL_FAULTS:
            raise _PARCEL_FAULTS[error.fault](str(error)) from error
        if isinstance(error, WorkerLostError) and patience.is_over(time.monotonic()):
            raise ParcelTooSlowError from error
        raise InstanceMismatchError(f"An instance can't be restored from its parcel: {error}") from error


def _resolved(preamble: Preamble, dictionaries: Callable[[bytes], bytes | None]) -> bytes | None:
    if preamble.dictionary == NO_DICTIONARY:
        return None
    dictionary = dictionaries(preamble.dictionary)
    if dictionary is None or hashlib.sha256(dictionary).digest() != preamble.dictionary:
        raise UnknownDictionaryError
    return dictionary


def _priority(word: str) -> Priority:
    try:
        return Priority.from_word(word)
    except KeyError:
        raise ParcelError("The parcel names a priority that there is not") from None
