"""What the hub is told of a study, and when."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support import rows

from appliance.model.notice import NOTICE_BYTES_MAX, StudyNotice
from appliance.store_forward.database import open_database
from appliance.store_forward.early import AGAIN_MS, CHANGED_MS, EarlyBook, Notice

NOW = 1_795_000_000_000


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    opened = open_database(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def book(tmp_path: Path, db: sqlite3.Connection) -> Iterator[EarlyBook]:
    opened = EarlyBook(tmp_path)
    yield opened
    opened.close()


def a_study(db: sqlite3.Connection, *, instances: int = 2, **values: Any) -> tuple[int, list[int]]:
    study = rows.add_study(db, **({"first_received_at": NOW - 1000, "last_received_at": NOW} | values))
    series = rows.add_series(db, study, series_number="3", modality="CT")
    return study, [rows.add_instance(db, study, series) for _ in range(instances)]


def said(notice: Notice | None) -> StudyNotice:
    assert notice is not None
    return msgspec.json.decode(notice.body, type=StudyNotice)


def tell_all(book: EarlyBook, now: int, *, again: bool = False) -> list[StudyNotice]:
    found = []
    while notice := book.next_notice(now, again=again):
        found.append(said(notice))
        book.told(notice, now)
    return found


def test_a_study_is_told_with_all_that_is_known_as_soon_as_an_instance_is_here(
    db: sqlite3.Connection, book: EarlyBook
) -> None:
    assert book.next_notice(NOW, again=True) is None
    a_study(db, patient_name="Banda^Grace", study_instance_uid="1.2.3", priority=0)
    (told,) = tell_all(book, NOW)
    assert (told.patient_name, told.study_instance_uid, told.priority) == ("Banda^Grace", "1.2.3", "stat")
    assert (told.instances, told.delivered, told.eta) == (2, 0, None)
    assert [(each.series_number, each.modality, each.instances) for each in told.series] == [("3", "CT", 2)]


def test_the_most_urgent_study_is_told_first(db: sqlite3.Connection, book: EarlyBook) -> None:
    for uid, priority in (("1.1", 2), ("1.2", 0), ("1.3", 1)):
        a_study(db, study_instance_uid=uid, priority=priority)
    assert [told.study_instance_uid for told in tell_all(book, NOW)] == ["1.2", "1.3", "1.1"]


def test_a_change_is_told_but_not_more_often_than_every_ten_seconds(db: sqlite3.Connection, book: EarlyBook) -> None:
    study, _ = a_study(db)
    assert len(tell_all(book, NOW)) == 1
    db.execute("UPDATE study SET priority = 0")
    assert tell_all(book, NOW + CHANGED_MS - 1) == []
    assert [told.priority for told in tell_all(book, NOW + CHANGED_MS)] == ["stat"]
    assert tell_all(book, NOW + 5 * CHANGED_MS) == []
    rows.add_instance(db, study, rows.add_series(db, study))
    assert [told.instances for told in tell_all(book, NOW + 5 * CHANGED_MS)] == [3]


def test_a_clock_that_jumped_back_keeps_nothing_from_being_told(db: sqlite3.Connection, book: EarlyBook) -> None:
    a_study(db)
    tell_all(book, NOW)
    db.execute("UPDATE study SET priority = 0")
    assert len(tell_all(book, NOW - 86_400_000)) == 1


def test_that_the_hub_has_all_is_told_once(db: sqlite3.Connection, book: EarlyBook) -> None:
    _, instances = a_study(db)
    tell_all(book, NOW)
    for instance in instances:
        db.execute("UPDATE instance SET state = 'packed' WHERE id = ?", (instance,))
        db.execute("UPDATE instance SET state = 'delivered', delivered_at = 1 WHERE id = ?", (instance,))
    assert [told.delivered for told in tell_all(book, NOW + CHANGED_MS)] == [2]
    assert tell_all(book, NOW + 10 * AGAIN_MS, again=True) == []


def test_a_study_on_its_way_is_told_again_now_and_then_when_there_is_time(
    db: sqlite3.Connection, book: EarlyBook
) -> None:
    a_study(db)
    tell_all(book, NOW)
    assert tell_all(book, NOW + AGAIN_MS) == []
    assert len(tell_all(book, NOW + AGAIN_MS, again=True)) == 1


def test_the_estimate_is_told_by_the_hubs_clock_once_all_is_packed(db: sqlite3.Connection, book: EarlyBook) -> None:
    study, instances = a_study(db, settle_ms=1, last_received_at=NOW - 10_000)
    parcel = rows.add_parcel(db, study, bytes=100_000, instances=2)
    for instance in instances:
        db.execute("UPDATE instance SET state = 'packed', parcel_id = ? WHERE id = ?", (parcel, instance))
    line = {"up": 1, "since": NOW, "rate": 1000.0, "round_trip_ms": 700.0, "clock_offset_ms": 3_600_000}
    rows.insert(db, "link", id=1, hub_seen_at=NOW, **line)
    rows.add_process(db, "forward", beat_at=NOW)
    (told,) = tell_all(book, NOW)
    assert told.eta is not None
    assert NOW + 3_600_000 + 50_000 < told.eta[0] < NOW + 3_600_000 + 100_000 < told.eta[1] < NOW + 3_600_000 + 300_000


def test_a_notice_is_never_larger_than_the_hub_takes(db: sqlite3.Connection, book: EarlyBook) -> None:
    study, _ = a_study(db)
    for number in range(600):
        rows.add_series(db, study, series_number=str(number), series_description="\x01" * 256)
    notice = book.next_notice(NOW, again=False)
    assert notice is not None
    assert len(notice.body) <= NOTICE_BYTES_MAX
    assert len(said(notice).series) > 50
