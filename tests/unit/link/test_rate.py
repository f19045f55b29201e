"""The rate is that of sending, follows the line, and is unknown until it was measured."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.link.rate import HALF_LIFE, Rate, add

SAMPLES = st.lists(st.tuples(st.integers(0, 10**9), st.floats(0.01, 10)), min_size=1, max_size=50)


def sent(rate: Rate, bytes_a_second: int, seconds: int) -> Rate:
    for _ in range(seconds):
        rate = add(rate, bytes_a_second, 1.0)
    return rate


def test_a_rate_is_unknown_until_half_a_second_was_spent_sending() -> None:
    assert Rate().value == 0
    assert add(Rate(), 1000, 0.4).value == 0
    assert add(add(Rate(), 1000, 0.4), 1000, 0.4).value == pytest.approx(2500, rel=0.02)


def test_a_steady_line_has_its_rate_and_no_spread() -> None:
    rate = sent(Rate(), 48_000, 60)
    assert rate.value == pytest.approx(48_000)
    assert rate.spread == pytest.approx(0, abs=1e-3)


def test_the_rate_follows_a_line_that_became_slower() -> None:
    rate = sent(sent(Rate(), 100_000, 300), 10_000, int(HALF_LIFE * 3))
    assert 10_000 < rate.value < 25_000
    assert rate.spread > 0.5


def test_nothing_acknowledged_while_sending_is_slow_and_no_time_is_no_sample() -> None:
    rate = sent(Rate(), 1000, 10)
    assert sent(rate, 0, 10).value < rate.value
    assert add(rate, 5000, 0.0) == rate


@given(SAMPLES)
def test_the_rate_lies_between_the_slowest_and_the_fastest_sample(samples: list[tuple[int, float]]) -> None:
    rate = Rate()
    for count, seconds in samples:
        rate = add(rate, count, seconds)
    speeds = [count / seconds for count, seconds in samples]
    assert rate.value == 0 or min(speeds) * 0.999 <= rate.value <= max(speeds) * 1.001
    assert rate.spread >= 0
