"""A cap holds over any time, pieces fill their segments, and little waits in the kernel."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.link.pace import BURST_SECONDS, Pace, on_uplink, piece_bytes, unsent_bytes, weight

RATES = st.floats(2000, 10_000_000)


@given(RATES, st.lists(st.tuples(st.integers(1, 65_536), st.floats(0, 0.5)), min_size=1, max_size=40))
def test_over_any_time_no_more_goes_than_the_cap_and_one_burst(rate: float, steps: list[tuple[int, float]]) -> None:
    pace, now, sent = Pace(), 0.0, []
    for count, busy in steps:
        now += busy + pace.pause(now + busy)
        sent.append((now, count))
        pace = pace.after(count, rate, now)
    for start, stop in itertools.combinations(range(0, len(sent), 7), 2):
        seconds = sent[stop][0] - sent[start][0]
        largest = max(count for _, count in sent)
        carried = sum(count for _, count in sent[start:stop])
        assert carried <= rate * (seconds + BURST_SECONDS) + largest + 1


@given(RATES, st.floats(0.001, 0.5))
def test_a_sender_that_is_never_late_uses_the_whole_cap(rate: float, seconds: float) -> None:
    pace, now, sent, piece = Pace(), 0.0, 0, int(rate * seconds)
    while now < 1:
        now += pace.pause(now)
        pace = pace.after(piece, rate, now)
        sent += piece
    assert sent >= rate


def test_without_a_cap_nothing_waits_and_one_that_ends_leaves_no_debt() -> None:
    assert Pace().after(10**9, None, 5.0).pause(5.0) == 0
    assert Pace().after(10**6, 1000.0, 5.0).after(1, None, 5.0).pause(5.0) == 0


def test_idle_time_is_not_saved_up() -> None:
    late = Pace().after(1000, 1000.0, 0.0).after(1000, 1000.0, 3600.0)
    assert late.pause(3600.0) == pytest.approx(1 - BURST_SECONDS)


def test_a_full_segment_in_the_tunnel_weighs_what_wireguard_sends() -> None:
    assert on_uplink(1368, 1, tunnel=True) == pytest.approx(1480, abs=8)
    assert weight(1448, tunnel=False) == pytest.approx(1500 / 1448)


@pytest.mark.parametrize("cap", [2_000.0, 8_000.0, 48_000.0, 1_250_000.0, 10**9])
def test_under_a_cap_a_piece_with_its_frame_is_whole_segments(cap: float) -> None:
    piece = piece_bytes(0, cap, 1368)
    assert (piece + 8) % 1368 == 0
    assert 0 < piece <= 65_536
    assert f"{piece:x}\r\n\r\n".__len__() <= 8


@pytest.mark.parametrize(("rate", "cap", "expected"), [(0, None, 2048), (8_000, None, 2048), (48_000, None, 12_000)])
def test_no_more_waits_in_the_kernel_than_a_quarter_of_a_second(rate: float, cap: float | None, expected: int) -> None:
    assert unsent_bytes(rate, cap) == expected
    assert unsent_bytes(10**9, None) == 262_144
    assert unsent_bytes(10**9, 48_000) == 12_000
