"""The queue as `forward` writes it: what the hub said, once or twice, becomes the same rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import rows

from appliance.config import Storage, UnitConfig
from appliance.link.pace import Weight
from appliance.model.priority import Priority
from appliance.model.states import IllegalTransitionError
from appliance.named_sql import NamedSql
from appliance.store_forward.database import open_database, transaction
from appliance.store_forward.outbox import OPEN_MAX, LinkRow, Outbox, Parcel, Progress
from appliance.store_forward.schedule import Lane
from appliance.store_forward.verdicts import Held, Settlement, Step


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    made = Outbox(UnitConfig(storage=Storage(data=str(tmp_path))))
    yield made
    made.close()


@pytest.fixture
def database(tmp_path: Path, outbox: Outbox) -> Iterator[sqlite3.Connection]:
    connection = open_database(tmp_path)
    yield connection
    connection.close()


def add_parcel(database: sqlite3.Connection, study: int, instances: int = 2, **values: object) -> int:
    """A parcel with packed instances."""
    parcel = rows.add_parcel(database, study, instances=instances, **values)
    series = rows.add_series(database, study)
    for _ in range(instances):
        number = rows.add_instance(database, study, series, parcel_id=parcel)
        database.execute("UPDATE instance SET state = 'packed' WHERE id = ?", (number,))
    return parcel


def study_of(database: sqlite3.Connection, study: int) -> sqlite3.Row:
    row: sqlite3.Row = database.execute("SELECT * FROM study WHERE id = ?", (study,)).fetchone()
    return row


def uploaded(outbox: Outbox, parcel: int) -> Parcel:
    """Brings it there, and returns it as the verdict desk sees it."""
    outbox.opened(parcel, "/v1/uploads/7", 0, 10)
    outbox.uploaded(parcel, 20)
    return next(p for p in outbox.to_verify(0, (), 10) if p.id == parcel)


def receipts(outbox: Outbox, parcel: int, *, but: int = 0) -> tuple[Held, ...]:
    found = outbox.instances(parcel)
    return tuple(Held(instance=o.instance, held_at=5000, conflict=False) for o in found[: len(found) - but])


def test_parcels_come_by_priority_now_then_by_the_age_of_their_study(
    database: sqlite3.Connection, outbox: Outbox
) -> None:
    old, young, urgent = (
        rows.add_study(database, priority=p, first_received_at=at) for p, at in ((2, 1000), (2, 2000), (1, 3000))
    )
    late = add_parcel(database, young)
    first, second = add_parcel(database, old), add_parcel(database, old)
    top = add_parcel(database, urgent)
    assert [c.parcel for c, _ in outbox.candidates((), 10)] == [top, first, second, late]
    database.execute("UPDATE study SET priority = 0 WHERE id = ?", (young,))
    assert [c.parcel for c, _ in outbox.candidates((first,), 1)] == [late, top, second]
    now = outbox.candidate(late, 0)
    assert now is not None
    assert now.priority is Priority.STAT


def test_a_study_counts_what_is_still_to_send(database: sqlite3.Connection, outbox: Outbox) -> None:
    study = rows.add_study(database)
    parcel, _ = add_parcel(database, study), add_parcel(database, study)
    outbox.opened(parcel, "/v1/uploads/7", 100, 10)
    outbox.held(parcel, 300)
    assert (study_of(database, study)["to_send"], study_of(database, study)["to_send_bytes"]) == (2, 1700)
    outbox.uploaded(parcel, 20)
    assert (study_of(database, study)["to_send"], study_of(database, study)["to_send_bytes"]) == (1, 1000)
    outbox.forgotten(parcel)
    assert (study_of(database, study)["to_send"], study_of(database, study)["to_send_bytes"]) == (2, 2000)


def test_receipts_that_come_twice_change_nothing(database: sqlite3.Connection, outbox: Outbox) -> None:
    study = rows.add_study(database, last_received_at=0)
    parcel = uploaded(outbox, add_parcel(database, study))
    whole = Settlement(step=Step.DELIVER, held=receipts(outbox, parcel.id))
    outbox.settle(parcel, whole, 30)
    outbox.call_whole(40_000)
    before = [tuple(row) for row in database.execute("SELECT * FROM instance")]
    outbox.settle(parcel, whole, 50)
    outbox.call_whole(60_000)
    assert [tuple(row) for row in database.execute("SELECT * FROM instance")] == before
    row = study_of(database, study)
    assert (row["delivered"], row["delivered_at"], row["whole_at"]) == (2, 30, 40_000)
    assert database.execute("SELECT count(*) FROM event WHERE kind = 'delivered_all'").fetchone()[0] == 1


def test_a_study_is_called_whole_only_after_its_quiet_time_and_again_when_more_came(
    database: sqlite3.Connection, outbox: Outbox
) -> None:
    study = rows.add_study(database, last_received_at=100_000, settle_ms=60_000)
    parcel = uploaded(outbox, add_parcel(database, study))
    outbox.settle(parcel, Settlement(step=Step.DELIVER, held=receipts(outbox, parcel.id)), 110_000)
    outbox.call_whole(110_000)
    assert study_of(database, study)["whole_at"] is None
    outbox.call_whole(170_000)
    assert study_of(database, study)["whole_at"] == 170_000
    later = add_parcel(database, study)
    assert study_of(database, study)["whole_at"] is None
    again = uploaded(outbox, later)
    outbox.settle(again, Settlement(step=Step.DELIVER, held=receipts(outbox, later)), 180_000)
    outbox.call_whole(180_000)
    kinds = [tuple(r) for r in database.execute("SELECT kind, count FROM event ORDER BY id")]
    assert kinds == [("delivered", 2), ("delivered_all", 2), ("delivered", 2), ("delivered_all", 4)]


def test_a_part_that_is_believed_is_delivered_and_the_rest_is_packed_anew(
    database: sqlite3.Connection, outbox: Outbox
) -> None:
    parcel = uploaded(outbox, add_parcel(database, rows.add_study(database), 3))
    settlement = Settlement(step=Step.PACK_PLAIN, held=receipts(outbox, parcel.id, but=1), faulty=True, counts=True)
    assert outbox.settle(parcel, settlement, 30) == 0
    states = [tuple(r) for r in database.execute("SELECT state, refusals, pack_failures FROM instance ORDER BY id")]
    assert states == [("delivered", 0, 0), ("delivered", 0, 0), ("received", 1, 1)]
    assert database.execute("SELECT state FROM parcel").fetchone()[0] == "refused"


def test_after_the_third_refusal_a_person_gets_the_instance(database: sqlite3.Connection, outbox: Outbox) -> None:
    parcel = uploaded(outbox, add_parcel(database, rows.add_study(database)))
    database.execute("UPDATE instance SET refusals = 2 WHERE id = (SELECT min(id) FROM instance)")
    assert outbox.settle(parcel, Settlement(step=Step.PACK_PLAIN, counts=True, refusal="format"), 30) == 1
    found = [tuple(r) for r in database.execute("SELECT state, reason, refusals FROM instance ORDER BY id")]
    assert found == [("quarantined", "E401", 3), ("received", "", 1)]
    event = database.execute("SELECT kind, count, detail FROM event").fetchone()
    assert tuple(event) == ("quarantined", 1, "E401")


def test_a_late_receipt_finds_an_instance_that_was_put_aside(database: sqlite3.Connection, outbox: Outbox) -> None:
    parcel = uploaded(outbox, add_parcel(database, rows.add_study(database), 1))
    held = receipts(outbox, parcel.id)
    database.execute("UPDATE instance SET state = 'quarantined'")
    outbox.settle(parcel, Settlement(step=Step.DELIVER, held=held), 30)
    assert database.execute("SELECT state FROM instance").fetchone()[0] == "delivered"


def test_a_conflict_at_the_hub_is_flagged_here(database: sqlite3.Connection, outbox: Outbox) -> None:
    study = rows.add_study(database)
    parcel = uploaded(outbox, add_parcel(database, study, 1))
    own = outbox.instances(parcel.id)[0]
    held = (Held(instance=own.instance, held_at=1, conflict=True),)
    outbox.settle(parcel, Settlement(step=Step.DELIVER, held=held), 30)
    assert study_of(database, study)["conflicts"] == 1


def test_a_change_that_is_not_legal_leaves_no_trace(database: sqlite3.Connection, outbox: Outbox) -> None:
    parcel = add_parcel(database, rows.add_study(database))
    with pytest.raises(IllegalTransitionError):
        outbox.uploaded(parcel, 20)  # it was never opened
    row = database.execute("SELECT state, uploaded_at FROM parcel").fetchone()
    assert tuple(row) == ("built", None)


def test_what_receipts_on_a_stick_settled_meanwhile_is_left_alone(database: sqlite3.Connection, outbox: Outbox) -> None:
    number = add_parcel(database, rows.add_study(database))
    parcel = Parcel(id=number, study=1, digest="", bytes=1, path=Path(), target="")
    for state in ("delivered", "refused"):
        database.execute("UPDATE parcel SET state = ?", (state,))
        before = tuple(database.execute("SELECT * FROM parcel").fetchone())
        outbox.opened(number, "/v1/uploads/7", 0, 20)
        outbox.held(number, 1)
        outbox.uploaded(number, 20)
        outbox.forgotten(number, refusal="status 413")
        outbox.give_up_file(parcel, 20)
        assert outbox.settle(parcel, Settlement(step=Step.SEND_AGAIN), 20) == 0
        assert outbox.quarantine(parcel, "status 413", 20) == 0
        assert tuple(database.execute("SELECT * FROM parcel").fetchone()) == before


def test_progress_is_between_what_the_hub_said_and_the_end(database: sqlite3.Connection, outbox: Outbox) -> None:
    parcel = add_parcel(database, rows.add_study(database))
    outbox.opened(parcel, "/v1/uploads/7", 400, 10)
    link = LinkRow(up=True, since=1)
    for said, shown in ((100, 400), (700, 700), (5000, 1000)):
        outbox.report([Progress(parcel=parcel, progress=said, sent=10)], link, Weight(), "sending", 30)
        assert database.execute("SELECT progress FROM parcel").fetchone()[0] == shown
    assert database.execute("SELECT sent_bytes FROM parcel").fetchone()[0] == 30
    assert outbox.link() == link
    assert tuple(database.execute("SELECT name, status FROM process").fetchone()) == ("forward", "sending")


def test_verdicts_are_asked_for_in_rounds(database: sqlite3.Connection, outbox: Outbox) -> None:
    study = rows.add_study(database)
    waiting = [uploaded(outbox, add_parcel(database, study, 1)).id for _ in range(4)]
    assert [p.id for p in outbox.to_verify(waiting[0], {waiting[2]}, 10)] == [waiting[1], waiting[3]]
    assert [p.id for p in outbox.to_verify(0, (), 2)] == waiting[:2]


def test_what_the_uplink_carried_is_added_up_by_the_month(database: sqlite3.Connection, outbox: Outbox) -> None:
    link = LinkRow(up=True, since=1)
    for now in (1_767_225_599_999, 1_767_225_600_000, 1_767_225_600_001):  # the last millisecond of 2025, and the next
        outbox.report([], link, Weight(1000, 400), None, now)
    found = database.execute("SELECT uplink, month, bytes, stat_bytes FROM uplink_usage ORDER BY month").fetchall()
    assert [tuple(row) for row in found] == [("", "2025-12", 1000, 400), ("", "2026-01", 2000, 800)]
    assert [c.bytes for c in outbox.use(1_767_225_600_002).carried] == [2000]


def test_what_the_hub_has_enough_of_stays_here(database: sqlite3.Connection, outbox: Outbox) -> None:
    study = rows.add_study(database)
    goes, stays = (add_parcel(database, study, 1, **values) for values in ({}, {"held_at": 5}))
    assert [c.parcel for c, _ in outbox.candidates((), 10)] == [goes]
    assert outbox.candidate(stays, 0) is None
    assert outbox.candidate(999, 0) is None


def test_a_preview_and_a_wish_are_found_behind_any_number_of_others(
    database: sqlite3.Connection, outbox: Outbox
) -> None:
    first = rows.add_study(database, first_received_at=1)
    plain = [add_parcel(database, first, 1) for _ in range(5)]
    last = rows.add_study(database, first_received_at=9)
    ordinary = add_parcel(database, last, 1)
    shows = add_parcel(database, last, 1, preview_bytes=100)
    wished = add_parcel(database, last, 1, rank=-2)
    late = add_parcel(database, last, 1, rank=3)
    found = {c.parcel: c for c, _ in outbox.candidates((), 2)}
    assert found.keys() == {*plain[:2], shows, wished}
    assert ordinary not in found
    assert late not in found
    assert found[shows].lane is Lane.PREVIEW
    assert found[wished].rank == -2
    seen = outbox.candidate(shows, 100)
    assert seen is not None
    assert seen.lane is Lane.REST


def test_a_preview_alone_opens_no_upload_when_many_are_open(database: sqlite3.Connection, outbox: Outbox) -> None:
    study = rows.add_study(database)
    opened = [add_parcel(database, study, 1, preview_bytes=100) for _ in range(OPEN_MAX)]
    another = add_parcel(database, study, 1, preview_bytes=100)
    for parcel in opened[1:]:
        outbox.opened(parcel, f"/v1/uploads/{parcel}", 10, 1)
    lanes = {c.parcel: c.lane for c, _ in outbox.candidates((), 50)}
    assert set(lanes.values()) == {Lane.PREVIEW}
    outbox.opened(opened[0], "/v1/uploads/1", 10, 1)
    lanes = {c.parcel: c.lane for c, _ in outbox.candidates((), 50)}
    assert lanes[another] is Lane.REST
    assert lanes[opened[0]] is Lane.PREVIEW


@pytest.mark.parametrize("query", ["candidates", "candidates_to_show", "candidates_wished"])
def test_the_turn_comes_from_indexes(database: sqlite3.Connection, outbox: Outbox, query: str) -> None:
    sql = NamedSql("appliance.store_forward.sql", "forward.sql")
    text = sql[query].replace("{columns}", sql["candidate_columns"])
    values = {"excluded": "[]", "limit": 16, "priority": 2}
    steps = [row["detail"] for row in database.execute("EXPLAIN QUERY PLAN " + text, values)]
    assert not [step for step in steps if "TEMP B-TREE" in step], steps
    assert not [step for step in steps if "SCAN study" in step], steps


def test_the_turn_takes_no_more_steps_when_the_queue_is_ten_times_as_long(
    database: sqlite3.Connection, outbox: Outbox
) -> None:
    def lengthen(numbers: range) -> None:
        with transaction(database):
            for number in numbers:
                study = rows.add_study(database, priority=2 + number % 2, first_received_at=number)
                for _ in range(5):
                    rows.add_parcel(database, study, preview_bytes=100 * (number % 2))

    lengthen(range(200))
    before = steps_to_candidates(outbox)
    lengthen(range(200, 2000))
    assert steps_to_candidates(outbox) < 1.5 * before


def steps_to_candidates(outbox: Outbox) -> int:
    """Tens of instructions that SQLite needs: the same on every machine, however busy."""
    steps = 0

    def count() -> None:
        nonlocal steps
        steps += 1

    outbox._db.set_progress_handler(count, 10)
    assert len(outbox.candidates(range(40), 16)) >= 2 * 16
    outbox._db.set_progress_handler(None, 0)
    return steps
