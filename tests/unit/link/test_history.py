"""What is remembered of a line: bounded, by hour, outages apart from rates."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from appliance.link.history import (
    HOURS,
    OUTAGES_MAX,
    RATES_MAX,
    History,
    Outage,
    after_minute,
    fall_chance,
    outages_like,
    rates_at,
)

MINUTES = st.tuples(st.integers(0, HOURS - 1), st.booleans(), st.none() | st.floats(0, 1e9))


def lived(*minutes: tuple[int, bool, float | None]) -> History:
    history = History()
    for hour, up, rate in minutes:
        history = after_minute(history, hour, up=up, rate=rate)
    return history


@given(st.lists(MINUTES, max_size=200))
def test_any_life_is_bounded_and_can_be_kept_as_json(minutes: list[tuple[int, bool, float | None]]) -> None:
    history = lived(*minutes)
    assert all(len(hour.rates) <= RATES_MAX for hour in history.hours)
    assert len(history.outages) <= OUTAGES_MAX
    assert len(history.hours) == HOURS
    assert msgspec.json.decode(msgspec.json.encode(history), type=History) == history
    assert all(0 < fall_chance(history, hour) <= 0.5 for hour in range(HOURS))


def test_an_outage_is_one_however_long_and_begins_in_its_hour() -> None:
    history = lived((21, True, 1.0), *[(22, False, None)] * 50, *[(23, False, None)] * 20, (23, True, None))
    assert history.outages == (Outage(22, 70.0),)
    assert history.down_minutes == 0
    assert history.hours[22].falls == 1


def test_the_age_of_an_outage_is_known_while_it_lasts() -> None:
    assert lived((3, True, 1.0), (3, False, None), (3, False, None)).down_minutes == 2


def test_a_minute_with_nothing_to_send_is_no_rate() -> None:
    assert lived((5, True, None)).hours[5].rates == ()


def test_an_hour_that_was_hardly_seen_asks_its_neighbours() -> None:
    history = lived(*[(8, True, 10.0)] * 30, *[(20, True, 99.0)] * 30)
    assert set(rates_at(history, 9)) == {10.0}
    assert set(rates_at(history, 21)) == {99.0}
    assert rates_at(History(), 9) == ()


def test_a_line_that_falls_in_one_hour_is_expected_to_fall_in_that_hour() -> None:
    day = [(hour, True, None) for hour in range(22) for _ in range(60)] + [(22, False, None), (22, True, None)]
    history = lived(*day * 5)
    assert fall_chance(history, 22) > 5 * fall_chance(history, 12)


def test_outages_of_about_that_hour_are_asked_first() -> None:
    history = History(outages=(*(Outage(22, 480.0 + n) for n in range(4)), *(Outage(12, 3.0) for _ in range(9))))
    assert min(outages_like(history, 22, 0.0)) == 480.0
    assert outages_like(history, 12, 100.0) == (480.0, 481.0, 482.0, 483.0)
