"""Reads the whole archive again and compares it with the index: what a disk lost is found before it is needed."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from appliance.errors import DamagedFileError
from appliance.hub.archive import digest_of
from appliance.hub.index import studies
from appliance.hub.index.database import Index
from appliance.hub.index.studies import StoredInstance
from appliance.hub.objects.store import Store

_BATCH = 500


class Damage(msgspec.Struct, frozen=True, kw_only=True):
    """An instance whose object is not what it was. `instance`: row id; the UID names it to the site."""

    instance: int
    sop_instance_uid: str
    stored_key: str
    problem: str


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """What `appliance hub verify --json` prints."""

    instances: int
    bytes: int
    damaged: tuple[Damage, ...]


def verify_archive(index: Index, store: Store, progress: Callable[[int], None]) -> Verification:
    """Hashes every object. `progress` is told how many instances more were read. Raises DatabaseError."""
    last, count, size = 0, 0, 0
    damaged: list[Damage] = []
    while True:
        with index.read() as connection:
            batch = studies.stored_after(connection, last, _BATCH)
        if not batch:
            return Verification(instances=count, bytes=size, damaged=tuple(damaged))
        for one in batch:
            if problem := _problem(one, store):
                damaged.append(_damage(one, problem))
            size += one.stored_bytes
        count += len(batch)
        last = batch[-1].id
        progress(len(batch))


def _damage(one: StoredInstance, problem: str) -> Damage:
    return Damage(instance=one.id, sop_instance_uid=one.sop_instance_uid, stored_key=one.stored_key, problem=problem)


def _problem(one: StoredInstance, store: Store) -> str:
    """Empty when all is as it was. The recipe carries its own check; here it has to be there."""
    try:
        with store.open(one.stored_key) as file:
            if digest_of(file) != (one.stored_digest, one.stored_bytes):
                return "its bytes have changed"
        if one.recipe_key:
            store.open(one.recipe_key).close()
    except DamagedFileError as error:
        return error.message
    except OSError as error:
        return f"it can't be read: {error.strerror}"
    return ""
