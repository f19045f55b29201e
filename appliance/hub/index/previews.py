"""Which parts of parcels are worth a look, and the previews that were drawn out of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Row, delete, func, insert, select, update

from appliance.hub.index.tables import parcel, part
from appliance.hub.index.tables import preview as table
from appliance.model.receipt import Verdict

NEVER: Final = 1 << 62  # bytes: all previews of the parcel are drawn, or none can be
_AT_ONCE: Final = 500  # names in one statement
_KEPT: Final = (Verdict.PARTIAL, Verdict.CHECKING, Verdict.VERIFIED)


@dataclass(frozen=True)
class Part:
    """The first `have` bytes of a parcel of `length` bytes. `after`: blocks with a lower number are done."""

    parcel_name: str
    site_id: str
    length: int
    have: int
    after: int


class PreviewFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A preview as `appliance hub preview --json` prints it. Nothing in it is proved."""

    parcel_name: str
    block: int
    site_id: str
    study_instance_uid: str
    series_instance_uid: str
    series_number: str
    sop_instance_uid: str
    instance_number: str
    frame: int
    bytes: int


def next_part(connection: Connection, passed: Collection[str]) -> Part | None:
    """The part that is worth a look first: of the most urgent parcel, then of the one that was opened first."""
    wanted = func.coalesce(part.c.wanted, 1)
    query = (
        select(parcel.c.name, parcel.c.site_id, parcel.c.length, parcel.c.offset, func.coalesce(part.c.after, 0))
        .join_from(parcel, part, part.c.parcel_name == parcel.c.name, isouter=True)
        .where(parcel.c.verdict == Verdict.PARTIAL, parcel.c.offset >= wanted, parcel.c.name.not_in(list(passed)))
        .order_by(parcel.c.priority, parcel.c.id)
        .limit(1)
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else Part(*row)


def drawn(
    connection: Connection, parcel_name: str, found: Sequence[PreviewFacts], *, after: int, wanted: int, now: int
) -> None:
    """Notes how far a part is drawn, and what came of it."""
    this = part.c.parcel_name == parcel_name
    values = {"after": after, "wanted": wanted, "drawn_at": now}
    if not connection.execute(update(part).where(this).values(values)).rowcount:
        connection.execute(insert(part).values(parcel_name=parcel_name, **values))
    if found:
        blocks = [each.block for each in found]
        connection.execute(delete(table).where(table.c.parcel_name == parcel_name, table.c.block.in_(blocks)))
        connection.execute(insert(table), [msgspec.structs.asdict(each) for each in found])


def of_study(connection: Connection, study_instance_uid: str) -> list[PreviewFacts]:
    """The previews of a study, one for each frame: the newest, when several parcels brought one."""
    query = select(table).join(part, part.c.parcel_name == table.c.parcel_name)
    rows = connection.execute(
        query.where(table.c.study_instance_uid == study_instance_uid).order_by(part.c.drawn_at, table.c.block)
    )
    newest = {(row.sop_instance_uid, row.frame): row for row in rows}
    return [_facts(row) for row in newest.values()]


def counts(connection: Connection, uids: Collection[str]) -> dict[str, int]:
    """How many frames of each of these studies have a preview; studies without are not there."""
    frames = select(table.c.study_instance_uid, table.c.sop_instance_uid, table.c.frame).distinct()
    frames = frames.where(table.c.study_instance_uid.in_(list(uids)))
    inner = frames.subquery()
    query = select(inner.c.study_instance_uid, func.count()).group_by(inner.c.study_instance_uid)
    return {uid: int(count) for uid, count in connection.execute(query)}


def spent(connection: Connection, before: int, bytes_max: int) -> list[str]:
    """Names of the parcels whose previews are to go: drawn before this time (Unix ms), refused or expired since, or the
    oldest when all together have more than `bytes_max` bytes.
    """
    size = func.coalesce(func.sum(table.c.bytes), 0)
    query = (
        select(part.c.parcel_name, part.c.drawn_at, parcel.c.verdict, size)
        .join(parcel, parcel.c.name == part.c.parcel_name, isouter=True)
        .join(table, table.c.parcel_name == part.c.parcel_name, isouter=True)
        .group_by(part.c.parcel_name, part.c.drawn_at, parcel.c.verdict)
        .order_by(part.c.drawn_at.desc())
    )
    total, found = 0, []
    for name, drawn_at, verdict, bytes_ in connection.execute(query):
        total += int(bytes_)
        if verdict not in _KEPT or drawn_at < before or total > bytes_max:
            found.append(name)
    return found


def remove(connection: Connection, names: Sequence[str]) -> None:
    """Takes the rows of these parcels' previews away."""
    for at in range(0, len(names), _AT_ONCE):
        some = names[at : at + _AT_ONCE]
        connection.execute(delete(table).where(table.c.parcel_name.in_(some)))
        connection.execute(delete(part).where(part.c.parcel_name.in_(some)))


def names(connection: Connection) -> set[str]:
    """Names of all parcels that have previews, or might."""
    return set(connection.execute(select(part.c.parcel_name)).scalars())


def _facts(row: Row[Any]) -> PreviewFacts:
    return PreviewFacts(**{name: row._mapping[name] for name in PreviewFacts.__struct_fields__})
