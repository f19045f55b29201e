"""Parcels of a site, from the first byte of the upload to the verdict.

One row a parcel: while bytes come it is an upload (`partial`), then it waits for its check (`checking`), then it is
`verified` or `refused`. Every step is one transaction, so that a hub which was killed finds its work by a query.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Connection, Row, delete, exists, func, insert, select, update

from appliance.hub.index.tables import parcel as table
from appliance.hub.index.tables import site
from appliance.hub.index.uptime import Moment
from appliance.model.receipt import Refusal, Verdict


@dataclass(frozen=True)
class Parcel:
    """A row of `parcel`. `offset`: bytes that are fsynced. `last_byte_up`: the hub's uptime then, in ms."""

    id: int
    name: str
    site_id: str
    digest: bytes | None
    length: int
    offset: int
    priority: int
    metadata: str
    verdict: Verdict
    refusal: Refusal | None
    reason: str
    last_byte_up: int


_FIELDS = tuple(table.c[name] for name in Parcel.__dataclass_fields__)
_OPEN = (Verdict.PARTIAL, Verdict.CHECKING)  # their files take up disk


def find(connection: Connection, site_id: str, name: str) -> Parcel | None:
    """The site's own parcel of this name."""
    return _one(connection, table.c.site_id == site_id, table.c.name == name)


def find_by_digest(connection: Connection, site_id: str, digest: bytes) -> Parcel | None:
    """The site's own parcel of this digest."""
    return _one(connection, table.c.site_id == site_id, table.c.digest == digest)


def _one(connection: Connection, *where: object) -> Parcel | None:
    row = connection.execute(select(*_FIELDS).where(*where)).one_or_none()  # type: ignore[arg-type]
    return _parcel(row) if row else None


def _parcel(row: Row[tuple[object, ...]]) -> Parcel:
    values = dict(row._mapping)
    refusal = values.pop("refusal")
    verdict = Verdict(values.pop("verdict"))
    return Parcel(verdict=verdict, refusal=Refusal(refusal) if refusal else None, **values)


def usage(connection: Connection, site_id: str) -> tuple[int, int]:
    """How many uploads of the site get bytes, and the length of these and of the ones that wait for their check."""
    query = select(func.count(), func.coalesce(func.sum(table.c.length), 0)).where(table.c.site_id == site_id)
    uploads = connection.execute(query.where(table.c.verdict == Verdict.PARTIAL)).one()[0]
    return uploads, int(connection.execute(query.where(table.c.verdict.in_(_OPEN))).one()[1])


@dataclass(frozen=True)
class Opening:
    """What is known of an upload before its first byte."""

    name: str
    length: int
    priority: int
    metadata: str
    moment: Moment


def create(connection: Connection, site_id: str, digest: bytes | None, opening: Opening) -> None:
    """Opens an upload; `sqlalchemy.exc.IntegrityError` when the site has this parcel already."""
    connection.execute(insert(table).values(site_id=site_id, digest=digest, **_fresh(opening)))


def reopen(connection: Connection, parcel_id: int, opening: Opening) -> None:
    """Begins a parcel anew, under another name: what is left of the old file is not touched."""
    connection.execute(update(table).where(table.c.id == parcel_id).values(**_fresh(opening)))


def _fresh(opening: Opening) -> dict[str, object]:
    return {
        "name": opening.name,
        "length": opening.length,
        "offset": 0,
        "priority": opening.priority,
        "metadata": opening.metadata,
        "verdict": Verdict.PARTIAL,
        "refusal": None,
        "reason": "",
        "created_at": opening.moment.at,
        "last_byte_at": opening.moment.at,
        "last_byte_up": opening.moment.up,
        "completed_at": None,
        "decided_at": None,
    }


def set_offset(connection: Connection, name: str, offset: int, moment: Moment) -> bool:
    """Records that `offset` bytes are fsynced; with the last one the parcel waits for its check. False: it is gone."""
    open_ = (table.c.name == name) & (table.c.verdict == Verdict.PARTIAL)
    values = {"offset": offset, "last_byte_at": moment.at, "last_byte_up": moment.up}
    moved = connection.execute(update(table).where(open_).values(values)).rowcount
    whole = open_ & (table.c.length == offset)
    connection.execute(update(table).where(whole).values(verdict=Verdict.CHECKING, completed_at=moment.at))
    return moved == 1


def first_of_each_site(connection: Connection, passed: Collection[int], largest: int) -> list[Parcel]:
    """For each site that waits for a check, the parcel that comes first: by priority, then by the time when it became
    whole. The ids in `passed`, as many as there may be, are passed over, and parcels of more than `largest` bytes.
    """
    checking = table.c.verdict == Verdict.CHECKING
    some = exists().where(checking, table.c.site_id == site.c.id)
    sites = connection.execute(select(site.c.id).where(some)).scalars().all()
    query = select(*_FIELDS).where(checking, table.c.length <= largest)
    query = query.order_by(table.c.priority, table.c.completed_at, table.c.id)
    query = query.limit(len(passed) + 1)  # not named in SQL: a statement takes 32,766 values
    found = []
    for site_id in sites:
        with connection.execute(query.where(table.c.site_id == site_id)) as rows:
            first = next((row for row in rows if row.id not in passed), None)
        if first:
            found.append(_parcel(first))
    return found


def waiting(connection: Connection) -> int:
    """How many parcels wait for their check."""
    query = select(func.count()).where(table.c.verdict == Verdict.CHECKING)
    return int(connection.execute(query).scalar_one())


def name_digest(connection: Connection, parcel_id: int, site_id: str, digest: bytes) -> None:
    """Gives a parcel whose client stated no digest the one that was computed, unless another parcel has it."""
    if find_by_digest(connection, site_id, digest) is None:
        nameless = (table.c.id == parcel_id) & table.c.digest.is_(None)
        connection.execute(update(table).where(nameless).values(digest=digest))


def verify(connection: Connection, parcel_id: int, now: int) -> bool:
    """Settles it as verified; call it in the transaction that files its instances. False: it no longer waits."""
    return _decide(connection, parcel_id, verdict=Verdict.VERIFIED, decided_at=now)


def refuse(connection: Connection, parcel_id: int, refusal: Refusal, reason: str, now: int) -> bool:
    """Settles it as refused. False: it no longer waits."""
    return _decide(connection, parcel_id, verdict=Verdict.REFUSED, refusal=refusal, reason=reason[:300], decided_at=now)


def _decide(connection: Connection, parcel_id: int, **values: object) -> bool:
    waiting = (table.c.id == parcel_id) & (table.c.verdict == Verdict.CHECKING)
    return connection.execute(update(table).where(waiting).values(**values)).rowcount == 1


def expired(connection: Connection, before: int) -> list[Parcel]:
    """Uploads that got no byte since the hub's uptime was `before`, in ms."""
    old = (table.c.verdict == Verdict.PARTIAL) & (table.c.last_byte_up < before)
    return [_parcel(row) for row in connection.execute(select(*_FIELDS).where(old))]


def remove(connection: Connection, name: str) -> bool:
    """Takes back an upload that is not whole. False: there is none."""
    partial = (table.c.name == name) & (table.c.verdict == Verdict.PARTIAL)
    return connection.execute(delete(table).where(partial)).rowcount == 1


def names_with_files(connection: Connection) -> set[str]:
    """Names of the parcels whose file in `uploads/` is still needed."""
    return set(connection.execute(select(table.c.name).where(table.c.verdict.in_(_OPEN))).scalars())
