"""An estimate is a range, and there is none while something is unknown."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from appliance.link.eta import Point, estimate


def test_there_is_no_estimate_while_the_size_or_the_rate_is_unknown() -> None:
    assert estimate(None, 48_000) is None
    assert estimate(1_000_000, 0.0) is None


def test_ten_minutes_of_bytes_take_about_ten_minutes() -> None:
    eta = estimate(600 * 48_000, 48_000, 0.2)
    assert eta is not None
    assert eta.soonest < 600 < eta.latest < 800


def test_nothing_to_go_is_there_in_seconds() -> None:
    eta = estimate(0, 48_000)
    assert eta is not None
    assert 0 <= eta.soonest <= eta.latest < 5


def test_no_estimate_of_months_is_shown() -> None:
    assert estimate(10**12, 100.0) is None


@given(st.integers(0, 10**13), st.integers(0, 10**13), st.floats(1, 1e9), st.floats(0, 10))
def test_more_bytes_never_come_sooner(few: int, more: int, rate: float, spread: float) -> None:
    first, second = estimate(min(few, more), rate, spread), estimate(max(few, more), rate, spread)
    assert second is None or first is not None
    if first and second:
        assert 0 <= first.soonest <= first.latest
        assert first.soonest <= second.soonest
        assert first.latest <= second.latest


POINTS = (Point(1000.0, 10.0, 20.0), Point(3000.0, 30.0, 90.0))


def test_what_is_expected_of_the_line_goes_before_its_present_rate() -> None:
    eta = estimate(2000, 1.0, expected=POINTS)
    assert eta is not None
    assert eta.soonest == 20.0
    assert 55.0 <= eta.latest < 60.0


def test_less_than_the_first_point_takes_less_than_it() -> None:
    eta = estimate(500, 0.0, expected=POINTS)
    assert eta is not None
    assert eta.soonest == 5.0


def test_beyond_what_is_expected_the_present_rate_is_asked() -> None:
    assert estimate(4000, 0.0, expected=POINTS) is None
    assert estimate(4000, 100.0, expected=POINTS) == estimate(4000, 100.0)
