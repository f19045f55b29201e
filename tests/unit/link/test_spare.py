"""The replica has the line only while nothing else wants it, and a little at a time."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.link.spare import QUIET_SECONDS, Spare, portion


def spare(**values: Any) -> Spare:
    free: dict[str, Any] = {"is_open": True, "may_go": True, "wanted": False, "quiet": 5.0, "rate": 0, "outstanding": 0}
    return Spare(**(free | values))


def test_a_line_that_nobody_wants_carries_a_sixth_of_a_second() -> None:
    assert portion(spare(rate=48_000.0)) == 7200
    assert portion(spare(rate=1_000.0)) == 1448
    assert portion(spare(rate=10**9)) == 65_536
    assert portion(spare()) == 1448, "a line of which nothing is known is slow"


@pytest.mark.parametrize(
    "busy",
    [
        {"is_open": False},
        {"may_go": False},
        {"wanted": True},
        {"quiet": QUIET_SECONDS - 0.1},
        {"outstanding": 1},
    ],
)
def test_it_waits_for_anything_else(busy: dict[str, Any]) -> None:
    assert portion(spare(rate=48_000.0, **busy)) == 0


@given(st.floats(0, 1e9))
def test_what_comes_in_meanwhile_waits_for_no_more_than_that(rate: float) -> None:
    assert portion(spare(rate=rate)) <= max(1448, rate * 0.15)
