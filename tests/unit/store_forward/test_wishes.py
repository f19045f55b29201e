"""What the hub wishes decides how parcels stand; each wish is kept, and taken once."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import rows

from appliance.model.notice import Wish, Wishes, WishKind
from appliance.store_forward import wishes
from appliance.store_forward.database import open_database
from appliance.store_forward.wishes import Kept, Standing, decide

A, B = ("1.2.1", "1"), ("1.2.2", "2")
FIRST, ENOUGH, ALL = WishKind.FIRST, WishKind.ENOUGH, WishKind.ALL


@pytest.mark.parametrize(
    ("series", "wished", "standing"),
    [
        ([A], [], Standing()),
        ([A], [Kept(1, "", FIRST)], Standing(-1)),
        ([A], [Kept(1, "1", FIRST)], Standing(-1)),
        ([A], [Kept(1, "1.2.1", FIRST)], Standing(-1)),
        ([B], [Kept(1, "1", FIRST)], Standing()),
        ([A, B], [Kept(1, "1", FIRST)], Standing(-1)),
        ([A, B], [Kept(1, "1", FIRST), Kept(2, "2", FIRST)], Standing(-2)),
        ([A], [Kept(1, "", ENOUGH)], Standing(held=True)),
        ([A, B], [Kept(1, "1", ENOUGH)], Standing()),
        ([A, B], [Kept(1, "1", ENOUGH), Kept(2, "2", ENOUGH)], Standing(held=True)),
        ([A], [Kept(1, "1", FIRST), Kept(2, "", ENOUGH)], Standing(held=True)),
        ([A], [Kept(1, "", ENOUGH), Kept(2, "1", FIRST)], Standing(-2)),
        ([B], [Kept(1, "", ENOUGH), Kept(2, "1", FIRST)], Standing(held=True)),
        ([A], [Kept(1, "1", ENOUGH), Kept(2, "", ALL)], Standing()),
        ([A], [Kept(1, "1", FIRST), Kept(2, "1.2.1", ENOUGH)], Standing(held=True)),
        ([("1.2.3", "")], [Kept(1, "1", FIRST), Kept(2, "x", ENOUGH)], Standing()),
        ([("1.2.3", " 7 ")], [Kept(1, "7", FIRST)], Standing(-1)),
    ],
)
def test_the_newest_wish_that_concerns_a_series_decides(
    series: list[tuple[str, str]], wished: list[Kept], standing: Standing
) -> None:
    assert decide(series, wished) == standing
    assert decide(series, wished[::-1]) == standing


@given(
    st.lists(st.sampled_from([A, B, ("1.2.3", "")]), min_size=1),
    st.lists(st.builds(Kept, st.integers(1, 50), st.sampled_from(["", "1", "2", "1.2.1"]), st.sampled_from(WishKind))),
)
def test_what_is_held_has_no_rank_and_taking_all_back_holds_nothing(
    series: list[tuple[str, str]], wished: list[Kept]
) -> None:
    standing = decide(series, wished)
    assert standing.rank == 0 or not standing.held
    assert decide(series, [*wished, Kept(99, "", ALL)]) == Standing()


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    opened = open_database(tmp_path)
    yield opened
    opened.close()


class Study:
    """A study of two series, with a parcel of each."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        self.id = rows.add_study(db, study_instance_uid="1.2")
        self.series = [rows.add_series(db, self.id, series_number=number) for number in ("1", "2")]
        self.parcels = [self.pack(series) for series in self.series]

    def pack(self, series: int) -> int:
        parcel = rows.add_parcel(self.db, self.id)
        rows.add_instance(self.db, self.id, series, parcel_id=parcel, state="packed")
        return parcel

    def standing(self) -> list[tuple[int, int | None]]:
        return [tuple(row) for row in self.db.execute("SELECT rank, held_at FROM parcel ORDER BY id")]

    def events(self) -> list[tuple[str, str]]:
        return [tuple(row) for row in self.db.execute("SELECT kind, detail FROM event ORDER BY id")]


def wish(number: int, kind: WishKind, series: str = "", study: str = "1.2") -> Wish:
    return Wish(id=number, study_instance_uid=study, series=series, kind=kind, at=0)


def take(db: sqlite3.Connection, *found: Wish, latest: int | None = None, now: int = 5_000) -> None:
    wishes.take(
        db, Wishes(wishes=list(found), latest=max((w.id for w in found), default=0) if latest is None else latest), now
    )


def test_a_wish_for_a_series_moves_its_parcels_and_is_told_on_the_timeline(db: sqlite3.Connection) -> None:
    study = Study(db)
    take(db, wish(7, FIRST, "2"))
    assert study.standing() == [(0, None), (-1, None)]
    take(db, wish(8, ENOUGH), now=6_000)
    assert study.standing() == [(0, 6_000), (0, 6_000)]
    take(db, wish(9, ALL, "1"), now=7_000)
    assert study.standing() == [(0, None), (0, 6_000)]
    assert study.events() == [("wish_first", "2"), ("wish_enough", ""), ("wish_all", "1")]
    assert wishes.known(db) == 9


def test_a_wish_that_comes_again_changes_nothing(db: sqlite3.Connection) -> None:
    study = Study(db)
    for _ in range(2):
        take(db, wish(1, ENOUGH), wish(2, FIRST, "1"))
    assert study.events() == [("wish_enough", ""), ("wish_first", "1")]
    assert study.standing() == [(-2, None), (0, 5_000)]


def test_a_parcel_that_is_packed_later_stands_as_was_wished(db: sqlite3.Connection) -> None:
    take(db, wish(1, ENOUGH), wish(2, FIRST, "2"))  # the study is not here yet
    study = Study(db)
    wishes.apply(db, study.id, 8_000)
    assert study.standing() == [(0, 8_000), (-2, None)]
    study.pack(study.series[0])
    wishes.apply(db, study.id, 9_000)
    assert study.standing() == [(0, 8_000), (-2, None), (0, 9_000)]
    assert wishes.packed_first(db, study.id) == [study.series[1]]


def test_a_series_is_named_on_the_timeline_by_its_number(db: sqlite3.Connection) -> None:
    study = Study(db)
    uid = db.execute("SELECT series_instance_uid FROM series WHERE id = ?", (study.series[1],)).fetchone()[0]
    take(db, wish(1, FIRST, uid))
    assert study.events() == [("wish_first", "2")]


def test_after_a_hub_that_lost_its_index_the_unit_begins_again(db: sqlite3.Connection) -> None:
    study = Study(db)
    take(db, wish(50, ENOUGH))
    take(db, latest=0)
    assert wishes.known(db) == 0
    take(db, wish(1, ALL))
    assert study.standing() == [(0, None), (0, None)]


def test_wishes_have_a_bound(db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wishes, "_MOST", 3)
    take(db, *(wish(number, FIRST, study=f"1.{number}") for number in range(1, 9)))
    assert [row[0] for row in db.execute("SELECT study_instance_uid FROM wish ORDER BY id")] == ["1.6", "1.7", "1.8"]


def test_what_waits_for_the_hubs_wish_does_not_keep_packing_from_going_on(db: sqlite3.Connection) -> None:
    from appliance.named_sql import NamedSql

    study = Study(db)
    line: Any = NamedSql("appliance.store_forward.sql", "pack.sql")["line"]
    assert tuple(db.execute(line).fetchone())[:2] == (2, 2_000)
    take(db, wish(1, ENOUGH, "1"))
    assert tuple(db.execute(line).fetchone())[:2] == (1, 1_000)
    assert study.standing() == [(0, 5_000), (0, None)]
