"""The packing process on a real queue: what waits becomes parcels, whatever happens to the workers or to itself."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import rows
from support.hostile_jobs import pixels
from support.packing_unit import Unit
from support.tiny_instances import element

from appliance.compress.parcel import read_preamble
from appliance.errors import SpoolError
from appliance.model.notice import Wish, Wishes, WishKind
from appliance.model.priority import Priority
from appliance.store_forward import packing
from appliance.store_forward.wishes import take


@pytest.fixture
def unit(tmp_path: Path) -> Iterator[Unit]:
    made = Unit(tmp_path)
    yield made
    made.close()


def test_what_waits_is_packed_into_parcels_of_one_study_each(unit: Unit) -> None:
    studies = [unit.study(), unit.study()]
    for study in (0, 1, 0, 1, 0):
        unit.receive(studies[study])
    unit.start()
    unit.pack_all()
    parcels = unit.all("SELECT study_id, instances, state, data_bytes > 0, bytes FROM parcel ORDER BY id")
    assert [parcel[:4] for parcel in parcels] == [(studies[0][0], 3, "built", 1), (studies[1][0], 2, "built", 1)]
    assert unit.all("SELECT DISTINCT state, parcel_id IS NOT NULL FROM instance") == [("packed", 1)]
    for name, size, preview_bytes in unit.all("SELECT file, bytes, preview_bytes FROM parcel"):
        content = (unit.data / "parcels" / name).read_bytes()
        assert len(content) == size
        assert preview_bytes == read_preamble(content, size).preview_bytes > 0
    assert unit.all("SELECT kind, count FROM event ORDER BY id") == [("packed", 3), ("packed", 2)]
    assert unit.all("SELECT received, packed, to_send FROM study") == [(0, 3, 1), (0, 2, 1)]


def test_the_most_urgent_study_is_packed_first_and_among_equals_the_first_that_came(unit: Unit) -> None:
    order = [(Priority.PRIOR, 1), (Priority.ROUTINE, 3), (Priority.ROUTINE, 2), (Priority.STAT, 9)]
    for priority, came in order:
        unit.receive(unit.study(priority=priority, first_received_at=came))
    unit.start()
    unit.pack_all()
    found = unit.all("SELECT study_id FROM parcel ORDER BY id")
    assert sorted(found[:2]) == [(3,), (4,)]  # the stat study has a worker of its own beside the other one
    assert found[2:] == [(2,), (1,)]


def test_what_the_hub_wants_first_is_packed_first_and_its_parcels_stand_as_was_wished(tmp_path: Path) -> None:
    with contextlib.closing(Unit(tmp_path, parcel_instances=1)) as unit:
        study = unit.study(study_instance_uid="1.2")
        wanted = (study[0], rows.add_series(unit.db, study[0], series_number="3"))
        for series in (study, wanted):
            unit.receive(series)
        wishes = [
            Wish(id=1, study_instance_uid="1.2", kind=WishKind.ENOUGH, at=0),
            Wish(id=2, study_instance_uid="1.2", series="3", kind=WishKind.FIRST, at=0),
        ]
        take(unit.db, Wishes(wishes=wishes, latest=2), 7)
        unit.start()
        unit.pack_all()
        query = """SELECT instance.series_id, parcel.rank < 0, parcel.held_at IS NOT NULL
            FROM parcel JOIN instance ON instance.parcel_id = parcel.id ORDER BY parcel.id"""
        assert unit.all(query) == [(wanted[1], 1, 0), (study[1], 0, 1)]


def test_later_parcels_of_one_study_are_one_line_in_its_timeline(unit: Unit) -> None:
    study = unit.study()
    unit.start()
    for _ in range(3):
        unit.receive(study)
        unit.pack_all()
    assert unit.one("SELECT count(*) FROM parcel") == 3
    assert unit.all("SELECT kind, count FROM event") == [("packed", 3)]


def test_a_header_is_used_as_dictionary_only_when_the_hub_has_acknowledged_it(unit: Unit) -> None:
    study = unit.study()
    unit.start()
    unit.receive(study)
    unit.pack_all()
    assert unit.all("SELECT parcel_id, acknowledged_at, withdrawn_at FROM dictionary") == [(1, None, None)]
    unit.receive(study)
    unit.pack_all()
    assert dictionary_of(unit, 2) == bytes(32)
    assert unit.one("SELECT count(*) FROM dictionary") == 1

    unit.db.execute("UPDATE dictionary SET acknowledged_at = 5")
    unit.receive(study)
    unit.pack_all()
    assert dictionary_of(unit, 3) == unit.one("SELECT digest FROM dictionary")

    unit.db.execute("UPDATE dictionary SET withdrawn_at = 6")
    unit.receive(study)
    unit.pack_all()
    assert dictionary_of(unit, 4) == bytes(32)
    assert unit.one("SELECT count(*) FROM dictionary") == 1  # none of this series is tried again


def dictionary_of(unit: Unit, parcel: int) -> bytes:
    name = unit.one("SELECT file FROM parcel WHERE id = ?", parcel)
    return (unit.data / "parcels" / name).read_bytes()[48:80]


def test_a_header_whose_parcel_was_refused_is_offered_again(unit: Unit) -> None:
    study = unit.study()
    unit.start()
    first = unit.receive(study)
    unit.pack_all()
    unit.db.execute("UPDATE parcel SET state = 'refused'")
    unit.db.execute("UPDATE instance SET state = 'received', parcel_id = NULL WHERE id = ?", (first,))
    unit.pack_all()
    assert unit.all("SELECT parcel_id, acknowledged_at FROM dictionary") == [(2, None)]


def test_an_instance_on_which_a_worker_dies_goes_plain_and_the_others_as_ever(unit: Unit) -> None:
    study = unit.study()
    unit.receive(study)
    guilty = unit.receive(study, pixels("crash"))
    unit.receive(study)
    unit.start("support.hostile_jobs")
    unit.pack_all()
    assert unit.all("SELECT state, pack_failures FROM instance ORDER BY id") == [
        ("packed", 0),
        ("packed", 1),
        ("packed", 0),
    ]
    query = "SELECT parcel.file FROM parcel JOIN instance ON parcel_id = parcel.id WHERE instance.id = ?"
    name = unit.one(query, guilty)
    assert pixels("crash") in (unit.data / "parcels" / name).read_bytes()


def test_what_fails_plain_too_is_quarantined_with_a_reason_and_the_rest_flows(unit: Unit) -> None:
    study = unit.study()
    # Plain blocks are compared as well: this one lies when it is read back.
    unit.receive(study, pixels("lie", when="decode"))
    unit.receive(study)
    unit.start("support.hostile_jobs")
    unit.pack_all()
    assert unit.all("SELECT state, reason, pack_failures FROM instance ORDER BY id") == [
        ("quarantined", "E403", 1),
        ("packed", "", 0),
    ]
    assert ("quarantined", 1, "E403") in unit.all("SELECT kind, count, detail FROM event")


@pytest.mark.parametrize("damage", ["flipped", "gone"])
def test_a_file_that_the_disk_has_changed_is_quarantined_as_damaged(unit: Unit, damage: str) -> None:
    study = unit.study()
    unit.receive(study)
    bad = unit.receive(study)
    path = unit.data / "spool" / unit.one("SELECT file FROM instance WHERE id = ?", bad)
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)
    if damage == "gone":
        path.unlink()
    unit.start()
    unit.pack_all()
    assert unit.all("SELECT state, reason FROM instance ORDER BY id") == [("packed", ""), ("quarantined", "E203")]


def test_packing_stays_so_far_ahead_of_the_line_and_no_further_but_for_stat(tmp_path: Path) -> None:
    unit = Unit(tmp_path, ahead_bytes=1 << 20)
    routine = unit.study()
    rows.add_parcel(unit.db, routine[0], bytes=2 << 20)
    (unit.data / "parcels" / unit.one("SELECT file FROM parcel")).write_bytes(b"x")
    unit.receive(routine)
    stat = unit.receive(unit.study(priority=Priority.STAT))
    unit.start()
    unit.until(lambda: unit.one("SELECT state FROM instance WHERE id = ?", stat) == "packed")
    assert unit.one("SELECT received FROM study WHERE id = ?", routine[0]) == 1
    unit.db.execute("UPDATE parcel SET state = 'uploaded' WHERE id = 1")
    unit.pack_all()
    unit.close()


def test_an_instance_that_went_another_way_meanwhile_is_not_queued(unit: Unit, monkeypatch: pytest.MonkeyPatch) -> None:
    study = unit.study()
    first, second = unit.receive(study), unit.receive(study)
    started = unit.start()
    real = started._pack

    def meanwhile(batch: Any) -> Any:
        with sqlite3.connect(unit.data / "appliance.db", isolation_level=None) as other:
            other.execute("UPDATE instance SET state = 'delivered', delivered_at = 1 WHERE id = ?", (first,))
        other.close()
        return real(batch)

    monkeypatch.setattr(started, "_pack", meanwhile)
    unit.pack_all()
    assert unit.all("SELECT id, state FROM instance ORDER BY id") == [(first, "delivered"), (second, "packed")]
    assert unit.all("SELECT instances FROM parcel") == [(1,)]
    assert len([name for name in unit.files() if name.endswith(".parcel")]) == 1


def test_an_instance_that_came_again_while_its_lost_file_was_packed_is_not_given_to_a_person(
    unit: Unit, monkeypatch: pytest.MonkeyPatch
) -> None:
    unit.receive(unit.study())
    kept = unit.data / "spool" / unit.one("SELECT file FROM instance")
    lost = kept.rename(kept.with_name("lost"))
    started = unit.start()
    real = started._pack

    def meanwhile(batch: Any) -> Any:
        try:
            return real(batch)
        finally:
            if lost.exists():
                lost.rename(kept.with_name("again.dcm"))
                with contextlib.closing(sqlite3.connect(unit.data / "appliance.db", isolation_level=None)) as other:
                    other.execute("UPDATE instance SET file = '00/again.dcm'")

    monkeypatch.setattr(started, "_pack", meanwhile)
    unit.pack_all()
    assert unit.all("SELECT state, reason FROM instance") == [("packed", "")]


def test_start_up_removes_what_no_row_names_and_packs_anew_what_is_lost(unit: Unit) -> None:
    study = unit.study()
    unit.receive(study)
    unit.start()
    unit.pack_all()
    lost = unit.one("SELECT file FROM parcel")
    (unit.data / "parcels" / lost).unlink()
    for name in ("a.part", "b.parcel"):
        (unit.data / "parcels" / name).write_bytes(b"x")
    unit.start()
    assert unit.files() <= {"compress.lock"}
    assert unit.all("SELECT state FROM parcel") == [("refused",)]
    unit.pack_all()
    assert unit.all("SELECT state, instances FROM parcel") == [("refused", 1), ("built", 1)]


def test_run_packs_beats_and_stops_at_once(unit: Unit) -> None:
    unit.receive(unit.study())
    stop = threading.Event()
    thread = threading.Thread(target=packing.run, args=(unit.config, stop))
    thread.start()
    deadline = time.monotonic() + 30
    while not unit.one("SELECT count(*) FROM parcel") or not unit.one("SELECT count(*) FROM process"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert unit.all("SELECT name, pid FROM process") == [("compress", os.getpid())]
    stop.set()
    thread.join(60)
    assert not thread.is_alive()


def test_a_full_disk_makes_it_wait_and_never_end(unit: Unit) -> None:
    # Its header is to be kept, and can't be made small: the row needs new pages.
    unit.receive(unit.study(), before=element(0x00080001, "UN", random.Random(1).randbytes(60_000)))
    started = unit.start()
    pages = unit.one("PRAGMA page_count")
    unit.db.execute(f"PRAGMA max_page_count = {pages}")  # SQLite itself says that the disk is full
    stop = threading.Event()
    seen: list[str] = []

    def watch() -> None:
        deadline = time.monotonic() + 20
        while "waiting for the disk" not in seen and time.monotonic() < deadline:
            seen.append(started.status)
            time.sleep(0.02)
        stop.set()

    thread = threading.Thread(target=watch)
    thread.start()
    packing._serve(started, unit.db, stop)
    thread.join()
    assert seen[-1] == "waiting for the disk"
    assert not [name for name in unit.files() if name.endswith(".parcel")]
    unit.db.execute("PRAGMA max_page_count = 1000000")
    unit.pack_all()
    assert unit.all("SELECT instances FROM parcel") == [(1,)]


def test_two_packing_processes_never_share_a_directory(unit: Unit) -> None:
    with (unit.data / "parcels" / "compress.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(SpoolError, match="Another"):
            packing.run(unit.config, threading.Event())


def test_stopping_in_the_middle_of_a_job_leaves_no_trace_and_loses_nothing(unit: Unit) -> None:
    waiting = unit.receive(unit.study(), pixels("hang"))
    started = unit.start("support.hostile_jobs")
    started.turn()
    time.sleep(0.2)
    started.close()
    assert unit.files() == set()
    assert unit.one("SELECT state FROM instance WHERE id = ?", waiting) == "received"
    assert unit.one("SELECT pack_failures FROM instance WHERE id = ?", waiting) == 0
