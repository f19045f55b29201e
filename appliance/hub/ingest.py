"""From a whole parcel to its verdict: unpack, compare, archive, file; each step may be cut short and done again.

The order is what makes a receipt true: objects are durable in the store, then one transaction files them and settles
the parcel, then the parcel's file goes. Until that transaction nothing is owed, and the parcel is still here.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.clock import now_ms
from appliance.compress.faults import ParcelTooLargeError, refusal_of
from appliance.compress.patience import parcel_seconds
from appliance.compress.pool import WorkerPool
from appliance.compress.values import RestoredInstance, RestoredParcel
from appliance.config import HubConfig
from appliance.errors import (
    DamagedFileError,
    DatabaseError,
    DicomError,
    DiskFullError,
    ParcelError,
    StoreError,
    StoreRefusedError,
)
from appliance.hub import refused
from appliance.hub.archive import Archiver, Prepared
from appliance.hub.durable import free_bytes
from appliance.hub.index import instances, kept, parcels
from appliance.hub.index.database import Index
from appliance.hub.index.instances import Archived, Filing, Stored
from appliance.hub.index.parcels import Parcel
from appliance.hub.objects.keys import key_of
from appliance.hub.objects.store import ObjectExistsError, Store
from appliance.hub.uptime import Uptime
from appliance.logs import get_logger
from appliance.model.identity import InstanceIdentity
from appliance.model.receipt import Refusal, Verdict
from appliance.part10.attributes import Content, read_attributes
from appliance.part10.identity import read_identity

_RESTORED_MAX: Final = 32 << 30  # bytes of all data sets of a parcel
_USUAL_RATIO: Final = 8  # most parcels hold at most so many times their own size
_USUAL_MORE: Final = 64 << 20
ANY_LENGTH: Final = 1 << 62

log = get_logger()


class RefusedError(Exception):
    """The parcel can't be used; the unit is told so in one word, and its log in a sentence."""

    def __init__(self, refusal: Refusal, reason: str) -> None:
        super().__init__(reason)
        self.refusal = refusal
        self.reason = reason


@dataclass(frozen=True)
class _Header:
    """A header that the site may name as a dictionary from now on."""

    digest: bytes
    key: str
    file: Path
    size: int


class Ingest:
    """Checks one parcel in each thread that calls it."""

    def __init__(self, config: HubConfig, index: Index, store: Store, pool: WorkerPool, uptime: Uptime) -> None:
        self._data = config.data
        self._reserve = config.hub.reserve_bytes // 2  # uploads leave all of it free; a check may use half
        self._index, self._store, self._pool, self._uptime = index, store, pool, uptime
        self._archiver = Archiver(config.hub.archive, pool)
        self._wall_seconds = config.compress.wall_seconds

    def check(self, parcel: Parcel) -> None:
        """Brings the parcel to its verdict. Blocking. Raises DiskFullError, DatabaseError, OSError: then it still
        waits, and is to be tried again.
        """
        staging = self._data / "staging" / parcel.name
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
        try:
            self._verify(parcel, staging)
        except RefusedError as why:
            self._refuse(parcel, why)
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def largest(self) -> int:
        """Bytes of the largest parcel that there is room on the disk to unpack now; none fits when it is below 1."""
        room = self._room()
        return ANY_LENGTH if room >= _RESTORED_MAX else (room - _USUAL_MORE) // _USUAL_RATIO

    def _room(self) -> int:
        return free_bytes(self._data) - self._reserve

    def _verify(self, parcel: Parcel, staging: Path) -> None:
        until = time.monotonic() + parcel_seconds(self._wall_seconds, parcel.length)
        restored = self._unpack(parcel, staging)
        if parcel.digest not in {None, restored.digest}:
            raise RefusedError(Refusal.DIGEST, "The bytes are not those that the parcel's digest names")
        identities = [_identity(item, restored) for item in restored.instances]
        headers = _headers(parcel, restored, staging)
        archived = self._archive(parcel, restored, identities, headers, staging, until)
        unneeded = self._file(parcel, restored, archived, headers)
        self._path(parcel).unlink(missing_ok=True)
        with self._tidying(parcel):
            self._store.delete(unneeded)
        log.info("parcel verified", parcel=parcel.id, site=parcel.site_id, count=len(archived), bytes=parcel.length)

    def _unpack(self, parcel: Parcel, staging: Path) -> RestoredParcel:
        room = self._room()
        if parcel.length > self.largest():
            raise DiskFullError("The hub's disk is too full to unpack a parcel")
        path = self._path(parcel)
        if not path.exists():
            raise RefusedError(Refusal.DIGEST, "The hub's disk lost the parcel")
        try:
            return self._pool.unpack(
                path,
                lambda digest: self.dictionary(parcel.site_id, digest),
                staging,
                restored_bytes_max=min(room, _RESTORED_MAX),
            )
        except ParcelTooLargeError as error:
            if room < _RESTORED_MAX:
                raise DiskFullError("The hub's disk is too full to unpack a parcel") from error
            raise RefusedError(refusal_of(error), error.message) from error
        except ParcelError as error:
            raise RefusedError(refusal_of(error), error.message) from error

    def dictionary(self, site_id: str, digest: bytes) -> bytes | None:
        """The header that this site may name so; None when the hub does not have it."""
        with self._index.read() as connection:
            key = instances.find_dictionary(connection, site_id, digest)
        if key is None:
            return None
        try:
            with self._store.open(key) as file:
                return file.read()
        except DamagedFileError:  # the disk lost it; the unit has it and can send without
            log.error("a header is lost", site=site_id, error_id=DamagedFileError.id)
            return None

    def _archive(
        self,
        parcel: Parcel,
        restored: RestoredParcel,
        identities: list[InstanceIdentity],
        headers: list[_Header],
        staging: Path,
        until: float,
    ) -> list[Archived]:
        """Makes the objects of every instance that is not held yet, durable in the store. After `until` (monotonic)
        they stay as received: the other sites wait.
        """
        with self._index.read() as connection:
            held = instances.held(connection, [(item.sop_instance_uid, item.digest) for item in restored.instances])
        archived, files = [], [(header.key, header.file) for header in headers]
        for position, (item, identity) in enumerate(zip(restored.instances, identities, strict=True)):
            stored = None
            if (item.sop_instance_uid, item.digest) not in held:
                prepared = self._archiver.prepare(item, staging, until)
                stored = _stored(parcel.name, position, prepared)
                files.append((stored.key, prepared.file))
                if prepared.recipe and stored.recipe_key:
                    files.append((stored.recipe_key, prepared.recipe))
            archived.append(_archived(item, identity, stored))
        self._put(parcel, files)
        return archived

    def _put(self, parcel: Parcel, files: list[tuple[str, Path]]) -> None:
        """Raises ObjectExistsError, when a try before this one left other bytes under these keys: a codec that ran out
        of time, or a newer one. No row refers to them while the parcel waits, so they are taken away for the next try.
        """
        try:
            self._store.put(files)
        except ObjectExistsError:
            with self._index.read() as connection:
                found = parcels.find(connection, parcel.site_id, parcel.name)
            if found is None or found.verdict is not Verdict.CHECKING:
                raise DatabaseError("A parcel was settled by somebody else") from None
            self._store.discard(parcel.name)
            raise

    def _file(
        self, parcel: Parcel, restored: RestoredParcel, archived: list[Archived], headers: list[_Header]
    ) -> list[str]:
        """One transaction: instances, receipts, dictionaries, verdict. Returns the keys that nothing refers to."""
        unneeded: list[str] = []
        now = now_ms()
        with self._index.write() as connection:
            filing = Filing(connection, site_id=parcel.site_id, parcel_id=parcel.id, priority=parcel.priority, now=now)
            for position, item in enumerate(archived):
                if not filing.file(position, item):  # also what a try before this one may have left
                    unneeded += [key_of(parcel.name, position, kind) for kind in ("dcm", "recipe")]
            for header in headers:
                added = instances.add_dictionary(
                    connection,
                    site_id=parcel.site_id,
                    digest=header.digest,
                    stored_key=header.key,
                    size=header.size,
                    now=now,
                )
                unneeded += [] if added else [header.key]
            if parcel.digest is None:
                parcels.name_digest(connection, parcel.id, parcel.site_id, restored.digest)
            if not parcels.verify(connection, parcel.id, now):
                raise DatabaseError("A parcel was settled by somebody else")
        return unneeded

    def _refuse(self, parcel: Parcel, why: RefusedError) -> None:
        """Settles it, and keeps its bytes aside for a look (`refused` bounds how many and how long)."""
        with self._index.write() as connection:
            parcels.refuse(connection, parcel.id, why.refusal, why.reason, now_ms())
        with self._tidying(parcel):
            self._store.discard(parcel.name)  # what a try before this one may have left
        path = self._path(parcel)
        if path.exists():
            refused.keep(path, self._data / "refused", self._uptime.milliseconds())
        log.warning("parcel refused", parcel=parcel.id, site=parcel.site_id, code=why.refusal, reason=why.reason)

    @contextmanager
    def _tidying(self, parcel: Parcel) -> Iterator[None]:
        """The parcel is settled: a store that can't be reached now keeps some bytes that nothing refers to."""
        try:
            yield
        except (StoreError, StoreRefusedError) as error:
            log.error("objects that nothing needs stay", parcel=parcel.id, error_id=error.id, reason=error.message)

    def _path(self, parcel: Parcel) -> Path:
        return self._data / "uploads" / parcel.name


def _identity(item: RestoredInstance, restored: RestoredParcel) -> InstanceIdentity:
    """Who the instance is. Raises RefusedError when it can't be told or is not who the parcel says."""
    try:
        with item.file.open("rb") as file:
            file.seek(item.data_offset)
            identity = read_identity(file, item.transfer_syntax_uid, item.bytes)
    except DicomError as error:
        raise RefusedError(Refusal.INSTANCE, f"An instance can't be identified: {error.message}") from error
    if (identity.study_instance_uid, identity.sop_instance_uid) != (restored.study_instance_uid, item.sop_instance_uid):
        raise RefusedError(Refusal.INSTANCE, "An instance is not the one that the parcel says it is")
    return identity


def _headers(parcel: Parcel, restored: RestoredParcel, staging: Path) -> list[_Header]:
    """Copies the headers that the unit wants kept, each once."""
    found: dict[bytes, _Header] = {}
    for position, item in enumerate(restored.instances):
        if not item.keep_header:
            continue
        with item.file.open("rb") as file:
            file.seek(item.data_offset)
            header = file.read(item.header_bytes)
        digest = hashlib.sha256(header).digest()
        local = staging / f"{position:05d}.header"
        if digest not in found:
            local.write_bytes(header)
            found[digest] = _Header(digest, key_of(parcel.name, position, "header"), local, len(header))
    return list(found.values())


def _stored(name: str, position: int, prepared: Prepared) -> Stored:
    return Stored(
        form=prepared.form,
        key=key_of(name, position, "dcm"),
        digest=prepared.file_digest,
        size=prepared.file_bytes,
        recipe_key=key_of(name, position, "recipe") if prepared.recipe else None,
    )


def _archived(item: RestoredInstance, identity: InstanceIdentity, stored: Stored | None) -> Archived:
    return Archived(
        identity=identity,
        transfer_syntax_uid=item.transfer_syntax_uid,
        digest=item.digest,
        size=item.bytes,
        calling_ae=item.calling_ae,
        received_at=item.received_at,
        stored=stored,
        header=_header_of(item) if stored else {},
    )


def _header_of(item: RestoredInstance) -> Content:
    with item.file.open("rb") as file:
        file.seek(item.data_offset)
        return read_attributes(file, item.transfer_syntax_uid, item.bytes, kept.EVERY, kept.LAST)
