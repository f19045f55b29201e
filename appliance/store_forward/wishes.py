"""What the hub wishes, applied to the queue: which parcels go sooner, and which stay here until it asks.

A wish is kept, so that it is also for what is packed later. `decide` is pure; the other functions are rows. Call those
inside `database.transaction`.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from appliance.model.notice import Wish, Wishes, WishKind
from appliance.named_sql import NamedSql
from appliance.store_forward.queue import record_event

_SQL: Final = NamedSql("appliance.store_forward.sql", "early.sql")
_MOST: Final = 10_000  # wishes kept; the oldest go first


class Kept(NamedTuple):
    """A wish in the queue. `id` rises with time; an empty `series` is the whole study."""

    id: int
    series: str
    kind: WishKind


class Standing(NamedTuple):
    """How a parcel stands: `rank` within its priority, the lower the sooner; `held`: it stays here."""

    rank: int = 0
    held: bool = False


def decide(series: Iterable[tuple[str, str]], wishes: Sequence[Kept]) -> Standing:
    """How a parcel with instances of these series (UID and number of each) stands.

    The newest wish that concerns a series decides about it. The parcel goes first when one of its series is to, and
    stays when all of them are to.
    """
    found = [_newest(uid, number, wishes) for uid, number in series]
    rank = min((-wish.id for wish in found if wish and wish.kind is WishKind.FIRST), default=0)
    return Standing(rank, bool(found) and all(wish and wish.kind is WishKind.ENOUGH for wish in found))


def _newest(uid: str, number: str, wishes: Sequence[Kept]) -> Kept | None:
    concerned = [wish for wish in wishes if wish.series in {"", uid} or wish.series == number.strip() != ""]
    return max(concerned, default=None)


def known(connection: sqlite3.Connection) -> int:
    """The number of the hub's last wish that is in the queue; 0: none is."""
    row = connection.execute(_SQL["known"]).fetchone()
    return int(row["number"]) if row else 0


def take(connection: sqlite3.Connection, found: Wishes, now: int) -> None:
    """Makes the hub's wishes facts of the queue. A hub that knows of fewer than we do has begun anew: so do we."""
    before = known(connection)
    if found.latest < before:
        connection.execute(_SQL["set_known"], {"number": 0})
        return
    for wish in found.wishes:
        if wish.id > before:
            _take(connection, wish, now)
            connection.execute(_SQL["set_known"], {"number": wish.id})
            before = wish.id


def _take(connection: sqlite3.Connection, wish: Wish, now: int) -> None:
    values = {"study": wish.study_instance_uid, "series": wish.series.strip(), "kind": wish.kind, "now": now}
    connection.execute(_SQL["forget_wishes"], {"study": values["study"], "series": values["series"]})
    connection.execute(_SQL["add_wish"], values)
    connection.execute(_SQL["keep_newest"], {"most": _MOST})
    study = connection.execute(_SQL["study_of_uid"], {"study": wish.study_instance_uid}).fetchone()
    if study is not None:
        _record(connection, study["id"], wish, now)
        apply(connection, study["id"], now)


def _record(connection: sqlite3.Connection, study_id: int, wish: Wish, now: int) -> None:
    """A line in the study's timeline."""
    name = _name(connection, study_id, wish)
    match wish.kind:
        case WishKind.FIRST:
            record_event(connection, study_id, now, "wish_first", 0, name)
        case WishKind.ENOUGH:
            record_event(connection, study_id, now, "wish_enough", 0, name)
        case WishKind.ALL:
            record_event(connection, study_id, now, "wish_all", 0, name)


def _name(connection: sqlite3.Connection, study_id: int, wish: Wish) -> str:
    """The series as people call it: by its number, when it has one."""
    rows = connection.execute(_SQL["series_of_study"], {"id": study_id})
    numbers = {row["series_instance_uid"]: row["series_number"] for row in rows}
    return numbers.get(wish.series, "") or wish.series.strip()


def apply(connection: sqlite3.Connection, study_id: int, now: int) -> None:
    """Sets the standing of the study's parcels anew; call it when wishes or parcels came."""
    wishes = _kept(connection, study_id)
    if not wishes:
        return
    names = _series(connection, study_id)
    for row in connection.execute(_SQL["parcels_of_study"], {"id": study_id}).fetchall():
        standing = decide([names[series] for series in json.loads(row["series"])], wishes)
        held_at = (row["held_at"] or now) if standing.held else None
        if (standing.rank, held_at) != (row["rank"], row["held_at"]):
            values = {"id": row["id"], "rank": standing.rank, "held_at": held_at}
            connection.execute(_SQL["set_standing"], values)


def packed_first(connection: sqlite3.Connection, study_id: int) -> list[int]:
    """Ids of the study's series that are to be packed before its others."""
    wishes = _kept(connection, study_id)
    if not wishes:
        return []
    return [series for series, name in _series(connection, study_id).items() if decide([name], wishes).rank < 0]


def _kept(connection: sqlite3.Connection, study_id: int) -> list[Kept]:
    rows = connection.execute(_SQL["wishes_of_study"], {"id": study_id})
    return [Kept(row["id"], row["series"], WishKind(row["kind"])) for row in rows]


def _series(connection: sqlite3.Connection, study_id: int) -> Mapping[int, tuple[str, str]]:
    rows = connection.execute(_SQL["series_of_study"], {"id": study_id})
    return {row["id"]: (row["series_instance_uid"], row["series_number"]) for row in rows}
