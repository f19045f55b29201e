"""Sizes, spans and tables as people read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance import terminal


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (9949, "9.9 kB"),
        (10_400, "10 kB"),
        (999_600, "1.0 MB"),
        (3_400_000, "3.4 MB"),
        (120_000_000_000, "120 GB"),
        (10**18, "1000 PB"),
    ],
)
def test_a_size(count: int, said: str) -> None:
    assert terminal.size(count) == said


@given(st.integers(0, 10**18))
def test_a_size_is_near_and_short(count: int) -> None:
    number, unit = terminal.size(count).split()
    assert abs(float(number) * 1000 ** terminal._UNITS.index(unit) - count) <= 0.051 * max(count, 1)
    assert len(terminal.size(count)) <= 7


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-5, "0 s"),
        (0, "0 s"),
        (89, "89 s"),
        (90, "2 min"),
        (3600, "60 min"),
        (5400, "1 h 30 min"),
        (7500, "2 h 05 min"),
        (200_000, "2 days"),
    ],
)
def test_a_span(seconds: float, said: str) -> None:
    assert terminal.span(seconds) == said


def test_a_moment_is_told_in_the_sites_zone() -> None:
    now = int(datetime(2026, 11, 24, 12, 0, tzinfo=UTC).timestamp() * 1000)
    east = timezone(timedelta(hours=2))
    assert terminal.moment(now - 3_600_000, now, east) == "13:00"
    assert terminal.moment(now - 86_400_000, now) == "Mon 12:00"
    assert terminal.moment(now - 30 * 86_400_000, now) == "2026-10-25 12:00"


def test_a_table_lines_up() -> None:
    drawn = terminal.table(["name", "bytes"], [["CT", "12"], ["a long name", "3"]], right=frozenset({1}))
    assert drawn.splitlines() == [
        "name         bytes",
        "───────────  ─────",
        "CT              12",
        "a long name      3",
    ]


@pytest.mark.parametrize(("share", "drawn"), [(0, "░░░░"), (0.5, "██░░"), (1, "████"), (7, "████"), (-1, "░░░░")])
def test_a_bar(share: float, drawn: str) -> None:
    assert terminal.bar(share, 4) == drawn
