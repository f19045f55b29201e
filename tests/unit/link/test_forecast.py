"""A forecast is a rising range, the same for the same input, and is mended by what came of it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.link.forecast import Calibration, Forecast, Now, Range, after_outcome, amounts, ask, play
from appliance.link.history import HOURS, History, Hour, Outage

NOON = Now(hour=12.0, up=True, rate=1000.0)
MIB = float(1 << 20)


def steady(rate: float = 1000.0) -> History:
    return History(hours=(Hour((rate,) * 60, 10_000.0, 0.0),) * HOURS)


def test_nothing_is_said_of_a_line_that_never_carried_anything() -> None:
    assert play(History(), NOON, amounts(MIB)) == Forecast()
    assert ask(Forecast(), Calibration(), 1.0) is None


def test_an_hour_of_bytes_on_a_steady_line_takes_about_an_hour() -> None:
    found = ask(play(steady(), NOON, amounts(3_600_000.0)), Calibration(), 3_600_000.0)
    assert found is not None
    assert found.soonest < 60 < found.latest < 90
    assert found.middle == pytest.approx(60, abs=2)


def test_the_same_line_and_moment_give_the_same_forecast() -> None:
    assert play(steady(), NOON, amounts(MIB), seed=7) == play(steady(), NOON, amounts(MIB), seed=7)


@settings(max_examples=20, deadline=None)
@given(
    rates=st.lists(st.floats(1, 1e6), min_size=1, max_size=30),
    falls=st.floats(0, 100),
    outages=st.lists(st.floats(1, 600), max_size=6),
    asked=st.lists(st.floats(0, 1e7), min_size=2, max_size=6),
    up=st.booleans(),
)
def test_more_bytes_never_come_sooner_whatever_the_line_was(
    rates: list[float], falls: float, outages: list[float], asked: list[float], up: bool
) -> None:
    hours = (Hour(tuple(rates), 1000.0, falls),) * HOURS
    history = History(hours=hours, outages=tuple(Outage(3, each) for each in outages), down_minutes=0.0 if up else 5.0)
    forecast = play(history, Now(hour=3.0, up=up, rate=rates[0]), amounts(1e7))
    found = [ask(forecast, Calibration(), amount) for amount in sorted(asked)]
    for sooner, later in pairwise(one for one in found if one is not None):
        assert 0 <= sooner.soonest <= sooner.middle <= sooner.latest
        assert sooner.middle <= later.middle + 1e-6


def test_a_night_without_power_is_in_the_range_of_what_goes_into_it() -> None:
    hours = tuple(Hour((1000.0,) * 60, 600.0, 10.0 if hour == 22 else 0.0) for hour in range(HOURS))
    history = History(hours=hours, outages=(Outage(22, 480.0),) * 5)
    evening = Now(hour=21.5, up=True, rate=1000.0)
    short, long = (ask(play(history, evening, amounts(size)), Calibration(), size) for size in (0.6e6, 9e6))
    assert short is not None
    assert short.latest < 40
    assert long is not None
    assert long.latest > 480


def test_what_would_take_more_than_a_week_is_not_said() -> None:
    forecast = play(steady(10.0), NOON, amounts(1e9))
    assert ask(forecast, Calibration(), 1e9) is None
    assert ask(forecast, Calibration(), 60_000.0) is not None


def test_an_outage_that_has_lasted_long_may_last_as_long_again() -> None:
    history = History(hours=steady().hours, outages=(Outage(12, 2.0),) * 9, down_minutes=300.0, down_hour=7)
    found = ask(play(history, Now(hour=12.0, up=False), amounts(60_000.0)), Calibration(), 60_000.0)
    assert found is None or found.latest > 300


def test_a_range_that_is_passed_grows_and_one_that_holds_shrinks() -> None:
    said = Range(20.0, 30.0, 40.0)
    late = after_outcome(Calibration(), said, 60.0)
    early = after_outcome(Calibration(), said, 10.0)
    held = after_outcome(Calibration(), said, 30.0)
    kind = 2
    assert late.far[kind] > Calibration().far[kind] > held.far[kind]
    assert early.near[kind] > Calibration().near[kind] > held.near[kind]
    assert late.near[kind] < Calibration().near[kind]
    assert [late.far[other] for other in (0, 1, 3, 4)] == [Calibration().far[0]] * 4


@given(st.lists(st.tuples(st.floats(0, 1e5), st.floats(0, 1e5)), max_size=50))
def test_a_calibration_stays_within_bounds(outcomes: list[tuple[float, float]]) -> None:
    calibration = Calibration()
    for middle, took in outcomes:
        calibration = after_outcome(calibration, Range(middle / 2, middle, middle * 2), took)
    assert all(-2.5 <= each <= 2.5 for each in (*calibration.near, *calibration.far))
