"""Leases on what is being made, what is kept, and what is to be removed. Each function is one step of a transaction.

A lease is a key of the store: each try has a new one, and whoever files a result names its own. So one who woke up
after its lease had ended changes nothing, and no object is ever written over. A key that a row gives up goes to
`rendition_spent` in the same transaction, so that a process killed anywhere leaves no object that nobody knows.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from sqlalchemy import Connection, Row, and_, delete, func, insert, literal, select, update

from appliance.hub.objects.keys import key_of
from appliance.hub.renditions.tables import rendition, rendition_spent
from appliance.hub.renditions.values import MAKER, Reason

LEASE_MS: Final = 60_000
AGAIN_MS: Final = 86_400_000  # after which a failure is tried again: what broke a worker may have been the machine
USED_MS: Final = 600_000  # how exactly the last use is known: each note of it is a write


@dataclass(frozen=True)
class Kept:
    """A finished rendition."""

    transfer_syntax_uid: str
    key: str
    digest: bytes
    bytes: int


@dataclass(frozen=True)
class Lease:
    """The right to make one, until it ends."""

    instance_id: int
    transfer_syntax_uid: str
    key: str


@dataclass(frozen=True)
class Failed:
    """It was tried, and can't be made."""

    reason: Reason


class Busy:
    """Somebody else is making it."""


Answer: TypeAlias = Kept | Lease | Failed | Busy


def kept_of(connection: Connection, instance_id: int, accepted: Sequence[str]) -> Kept | None:
    """The kept rendition that comes first in `accepted`."""
    c = rendition.c
    query = select(rendition).where(c.instance_id == instance_id, c.state == "kept")
    found = {row.transfer_syntax_uid: _kept(row) for row in connection.execute(query)}
    return next((found[uid] for uid in accepted if uid in found), None)


def take(connection: Connection, instance_id: int, transfer_syntax_uid: str, holder: str, now: int) -> Answer:
    """What there is, or the lease to make it. `sqlalchemy.exc.IntegrityError`: another process was first; ask again."""
    c = rendition.c
    same = and_(c.instance_id == instance_id, c.transfer_syntax_uid == transfer_syntax_uid)
    row = connection.execute(select(rendition).where(same).with_for_update()).one_or_none()
    if row is not None:
        if row.state == "kept":
            return _kept(row)
        if row.state == "failed" and row.maker == MAKER and 0 <= now - row.made_at < AGAIN_MS:
            return Failed(Reason(row.reason))
        if row.state == "making" and is_held(row.until, now):
            return Busy()
        _forget(connection, row.stored_key)
    name = secrets.token_hex(16)
    key = key_of(name, 0, "dcm")
    connection.execute(
        insert(rendition).values(
            instance_id=instance_id,
            transfer_syntax_uid=transfer_syntax_uid,
            state="making",
            stored_key=key,
            bytes=0,
            reason="",
            maker=MAKER,
            made_at=now,
            used_at=now,
            holder=holder,
            until=now + LEASE_MS,
        )
    )
    return Lease(instance_id, transfer_syntax_uid, key)


def is_held(until: int, now: int) -> bool:
    """Whether a lease has not ended. One that ends later than any that is given now is of a clock that was wrong."""
    return now < until <= now + 2 * LEASE_MS


def keep(connection: Connection, lease: Lease, now: int) -> bool:
    """Makes the lease longer; False when it is no longer ours."""
    done = connection.execute(_mine(lease).values(until=now + LEASE_MS))
    return done.rowcount == 1


def settle(connection: Connection, lease: Lease, digest: bytes, size: int, now: int) -> bool:
    """The object is in the store; False when the lease was no longer ours: then its key is spent."""
    filed = {"state": "kept", "digest": digest, "bytes": size, "made_at": now, "used_at": now, "until": 0}
    if connection.execute(_mine(lease).values(filed)).rowcount == 1:
        return True
    spend(connection, lease.key)
    return False


def fail(connection: Connection, lease: Lease, reason: Reason, now: int) -> None:
    """It can't be made; known to all who ask, until what makes renditions changes, or a day is over."""
    connection.execute(_mine(lease).values(state="failed", reason=reason.value, made_at=now, until=0))


def release(connection: Connection, lease: Lease) -> None:
    """It was not made, and nothing is known: who asks next may try."""
    _forget(connection, lease.key)


def touch(connection: Connection, kept: Kept, now: int) -> None:
    """It was used."""
    c = rendition.c
    connection.execute(update(rendition).where(c.stored_key == kept.key).values(used_at=now))


def was_used(connection: Connection, kept: Kept, now: int) -> bool:
    """Whether its last use is known as exactly as need be."""
    query = select(rendition.c.used_at).where(rendition.c.stored_key == kept.key)
    used_at = connection.execute(query).scalar_one_or_none()
    return used_at is None or abs(now - int(used_at)) < USED_MS


def gone(connection: Connection, kept: Kept) -> None:
    """Its object is not there, or damaged: it is to be made again."""
    _forget(connection, kept.key)


def make_room(connection: Connection, room: int) -> None:
    """Gives up those used longest ago, until what is kept takes `room` bytes at most."""
    c = rendition.c
    kept = connection.execute(select(func.coalesce(func.sum(c.bytes), 0)).where(c.state == "kept")).scalar_one()
    while kept > room:
        query = select(c.stored_key, c.bytes).where(c.state == "kept").order_by(c.used_at, c.stored_key).limit(100)
        for key, size in connection.execute(query).all():
            if kept <= room:
                break
            _forget(connection, key)
            kept -= size


def kept_bytes(connection: Connection) -> int:
    """Bytes that are kept."""
    query = select(func.coalesce(func.sum(rendition.c.bytes), 0)).where(rendition.c.state == "kept")
    return int(connection.execute(query).scalar_one())


def give_up_ended(connection: Connection, now: int) -> None:
    """Gives up what a process that died was making."""
    c = rendition.c
    rows = connection.execute(select(c.stored_key, c.until).where(c.state == "making")).all()
    for row in rows:
        if not is_held(row.until, now):
            _forget(connection, row.stored_key)


def spent(connection: Connection, limit: int) -> list[str]:
    """Keys of objects to remove."""
    return list(connection.execute(select(rendition_spent.c.stored_key).limit(limit)).scalars())


def removed(connection: Connection, keys: Sequence[str]) -> None:
    """Their objects are gone."""
    connection.execute(delete(rendition_spent).where(rendition_spent.c.stored_key.in_(keys)))


def spend(connection: Connection, key: str) -> None:
    """The object of this key, if there is one, is to be removed."""
    there = select(rendition_spent.c.stored_key).where(rendition_spent.c.stored_key == key).exists()
    connection.execute(insert(rendition_spent).from_select(["stored_key"], select(literal(key)).where(~there)))


def _forget(connection: Connection, key: str) -> None:
    """The row goes, and its object is to go."""
    if connection.execute(delete(rendition).where(rendition.c.stored_key == key)).rowcount:
        spend(connection, key)


def _mine(lease: Lease) -> Any:
    return update(rendition).where(rendition.c.stored_key == lease.key, rendition.c.state == "making")


def _kept(row: Row[Any]) -> Kept:
    return Kept(row.transfer_syntax_uid, row.stored_key, row.digest, row.bytes)
