"""On a slow line a stat study overtakes in the middle of a transfer, and a long round trip leaves no gap."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.fault_proxy import FaultProxy
from support.hub import RunningHub
from support.recording_proxy import RecordingProxy
from support.sending_unit import SendingUnit, noise

from appliance.compress.pool import WorkerPool
from appliance.config import Compress, Link
from appliance.model.priority import Priority

SLOW = 64_000.0  # bytes a second
AT_HUB = "SELECT state IN ('uploaded', 'delivered') FROM parcel WHERE id = ?"


@pytest.fixture
def witness(hub: RunningHub) -> Iterator[RecordingProxy]:
    proxy = RecordingProxy(hub.hub.port if hub.hub else 0)
    yield proxy
    proxy.close()


@pytest.fixture
def slow_line(witness: RecordingProxy) -> Iterator[FaultProxy]:
    proxy = FaultProxy(witness.port, rate=SLOW)
    yield proxy
    proxy.close()


@pytest.fixture
def unit(tmp_path: Path, hub: RunningHub, slow_line: FaultProxy) -> SendingUnit:
    return SendingUnit(tmp_path / "unit", slow_line.url, hub.secret, {"stall_seconds": 10.0})


def target_of(unit: SendingUnit, parcel: int) -> str:
    return str(unit.value("SELECT upload_url FROM parcel WHERE id = ?", parcel))


def test_a_stat_study_overtakes_at_once_and_the_routine_one_goes_on_at_its_byte(
    unit: SendingUnit, slow_line: FaultProxy, witness: RecordingProxy
) -> None:
    routine = unit.add_parcel(1, [noise(1, 1, 800_000)], plain=True)
    packed = unit.pack(2, [noise(2, 1, 60_000)], plain=True, priority=Priority.STAT)
    with unit.forward():
        unit.await_true(lambda: slow_line.bytes_up > 200_000, "the routine parcel is in the middle")
        queued_at = time.monotonic()
        stat = unit.queue(packed)
        unit.await_true(lambda: len(slow_line.bodies) == 2, "the stat parcel is on the line", seconds=20)
        begun_after = slow_line.bodies[1][0] - queued_at
        unit.await_true(lambda: unit.value(AT_HUB, stat) == 1, "the stat parcel is at the hub")
        there_after = time.monotonic() - queued_at
        assert unit.value("SELECT state FROM parcel WHERE id = ?", routine) == "open"
        unit.await_delivered()
    assert target_of(unit, stat).encode() in slow_line.bodies[1][1]
    rest = 600_000 / SLOW  # of the routine study, which it would have waited for; a busy machine takes a second or two
    assert begun_after < rest / 2, f"the stat study began to go only after {begun_after:.2f} s"
    assert there_after < rest, f"it was there only after {there_after:.2f} s"
    assert witness.seen.sent_again == []
    row = unit.rows("SELECT sent_bytes, bytes FROM parcel WHERE id = ?", routine)[0]
    assert row["sent_bytes"] == row["bytes"], "yielding cost no byte"
    assert len(slow_line.bodies) == 3


def test_a_study_that_a_person_makes_urgent_goes_first_from_then_on(unit: SendingUnit, slow_line: FaultProxy) -> None:
    with WorkerPool(Compress(parcel_bytes=64 << 20)) as pool:
        first, second = (unit.add_parcel(n, [noise(n, 1, 300_000)], plain=True, pool=pool) for n in (1, 2))
    with unit.forward():
        unit.await_true(lambda: slow_line.bytes_up > 100_000, "the first study is in the middle")
        with unit.database() as connection:
            connection.execute("UPDATE study SET priority = 1 WHERE study_instance_uid = '2.25.1.2'")
        unit.await_delivered()
    done = unit.rows("SELECT id FROM parcel ORDER BY delivered_at")
    assert [row["id"] for row in done] == [second, first]


def test_progress_is_on_the_page_while_a_parcel_goes(unit: SendingUnit) -> None:
    parcel = unit.add_parcel(1, [noise(1, 1, 400_000)], plain=True)
    seen = []
    with unit.forward():
        unit.await_true(lambda: unit.value("SELECT progress > 50000 FROM parcel") == 1, "some progress")
        unit.await_true(lambda: unit.value("SELECT rate > 0 FROM link") == 1, "a measured rate")
        while unit.value("SELECT state FROM parcel WHERE id = ?", parcel) == "open":
            seen.append(unit.value("SELECT progress FROM parcel"))
            time.sleep(0.1)
        unit.await_delivered()
        rate = unit.value("SELECT rate FROM link")
    assert seen == sorted(seen)
    assert 0.5 * SLOW < rate < 1.5 * SLOW, f"{rate:.0f} bytes a second were measured on a line of {SLOW:.0f}"


def test_a_long_round_trip_leaves_no_gap_between_parcels(tmp_path: Path, hub: RunningHub) -> None:
    line = FaultProxy(hub.hub.port if hub.hub else 0, delay=0.35)
    unit = SendingUnit(tmp_path / "unit", line.url, hub.secret, {"stall_seconds": 10.0})
    with WorkerPool(Compress(parcel_bytes=64 << 20)) as pool:
        for study in range(1, 13):
            unit.add_parcel(study, [noise(study, 1, 20_000)], plain=True, pool=pool)
    started = time.monotonic()
    with unit.forward():
        unit.await_value(0, "SELECT count(*) FROM parcel WHERE state IN ('built', 'open')")
        took = time.monotonic() - started
    line.close()
    one_after_the_other = 12 * 2 * 0.7  # a round trip to open each, and one to send it
    assert took < one_after_the_other / 2, f"12 parcels took {took:.1f} s"


def test_what_waits_behind_an_urgent_study_has_its_share_of_the_line(unit: SendingUnit) -> None:
    unit.link = Link(trickle_share=0.5)
    urgent = unit.add_parcel(1, [noise(1, 1, 800_000)], plain=True, priority=Priority.URGENT)
    prior = unit.add_parcel(2, [noise(2, 1, 20_000)], plain=True, priority=Priority.PRIOR)
    with unit.forward():
        unit.await_true(lambda: unit.value(AT_HUB, prior) == 1, "the prior study is at the hub")
        assert unit.value("SELECT state FROM parcel WHERE id = ?", urgent) == "open"
        assert unit.value("SELECT progress FROM parcel WHERE id = ?", urgent) > 100_000, "the urgent one went first"
        unit.await_delivered()
    assert unit.value("SELECT sent_bytes - bytes FROM parcel WHERE id = ?", urgent) == 0, "to give way cost no byte"


def test_a_routine_study_that_waited_for_long_takes_its_turn_as_an_urgent_one(unit: SendingUnit) -> None:
    unit.link = Link(aging_hours=24.0, rate_kbit=2000)
    old = unit.add_parcel(1, [noise(1, 1, 300_000)], plain=True)
    packed = unit.pack(2, [noise(2, 1, 100_000)], plain=True, priority=Priority.URGENT)
    with unit.database() as connection:
        connection.execute("UPDATE study SET first_received_at = first_received_at - 90000000")
    with unit.forward():
        unit.await_value("open", "SELECT state FROM parcel WHERE id = ?", old)
        urgent = unit.queue(packed)  # it would interrupt a younger one
        unit.await_delivered()
    assert [row["id"] for row in unit.rows("SELECT id FROM parcel ORDER BY uploaded_at")] == [old, urgent]
