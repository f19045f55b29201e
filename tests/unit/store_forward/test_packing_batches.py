"""What is packed next: at once, unless the line is busy and more is just coming."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.model.priority import Priority
from appliance.store_forward.batches import BUSY_LINE_PARCELS, LINGER_MS_MAX, Line, Waiting, lingers, may_pack

NOW = 1_795_000_000_000
BUSY, IDLE = Line(parcels=BUSY_LINE_PARCELS, bytes=10), Line(parcels=1, bytes=10)


def waiting(**changed: int) -> Waiting:
    values = {"last_received_at": NOW - 100, "oldest_received_at": NOW - 500, "instances": 3, "bytes": 1000}
    priority = Priority(changed.pop("priority", Priority.ROUTINE))
    return Waiting(priority=priority, **(values | changed))


def linger(what: Waiting, line: Line = BUSY, now: int = NOW) -> bool:
    return lingers(what, line, now, instances_max=256, bytes_enough=1_000_000)


def test_while_the_line_is_busy_and_the_modality_sends_a_parcel_may_grow() -> None:
    assert linger(waiting())


@pytest.mark.parametrize(
    "what",
    [
        waiting(priority=Priority.STAT),
        waiting(last_received_at=NOW - 1000),
        waiting(instances=256),
        waiting(bytes=1_000_000),
        waiting(oldest_received_at=NOW - LINGER_MS_MAX),
    ],
    ids=["stat", "quiet", "many", "large", "long"],
)
def test_what_is_urgent_whole_or_waited_long_enough_is_packed_at_once(what: Waiting) -> None:
    assert not linger(what)


def test_nothing_waits_for_company_while_the_line_is_free() -> None:
    assert not linger(waiting(), IDLE)


def test_until_the_hub_confirms_a_header_of_the_series_one_parcel_on_the_line_is_enough_to_wait_for_more() -> None:
    assert linger(waiting(header_awaited=True), IDLE)
    assert not linger(waiting(header_awaited=True), Line(parcels=0, bytes=0))


def test_while_the_line_is_down_only_the_end_of_the_sending_or_a_full_parcel_ends_the_wait() -> None:
    down = Line(parcels=BUSY_LINE_PARCELS, bytes=10, up=False)
    assert linger(waiting(oldest_received_at=NOW - LINGER_MS_MAX), down)
    assert not linger(waiting(last_received_at=NOW - 1000), down)
    assert not linger(waiting(bytes=1_000_000), down)


@given(jump=st.integers(-(10**12), 10**12))
def test_a_clock_that_jumps_never_makes_an_instance_wait_longer_than_the_limit(jump: int) -> None:
    if linger(waiting(), now=NOW + jump):
        assert 0 <= NOW + jump - waiting().oldest_received_at < LINGER_MS_MAX


@pytest.mark.parametrize(("priority", "allowed"), [(Priority.STAT, True), (Priority.URGENT, False)])
def test_a_stat_study_is_packed_however_much_waits_for_the_line(priority: Priority, allowed: bool) -> None:
    assert may_pack(priority, Line(parcels=9, bytes=100), ahead_bytes=100) is allowed
    assert may_pack(priority, Line(parcels=9, bytes=99), ahead_bytes=100)
