"""A cap holds over any time, pieces fill their segments, and little waits in the kernel."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.link.pace import (
    BURST_SECONDS,
    Pace,
    RoundTrip,
    on_uplink,
    piece_bytes,
    unsent_bytes,
    weight,
    window_bytes,
)

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
def test_a_piece_with_its_frame_is_whole_segments(cap: float) -> None:
    piece = piece_bytes(cap, None, 1368)
    assert piece == piece_bytes(0, cap, 1368)
    assert (piece + len(f"{piece:x}\r\n\r\n")) % 1368 == 0
    assert 0 < piece <= 65_536


@pytest.mark.parametrize(("rate", "cap", "expected"), [(0, None, 2048), (8_000, None, 2048), (48_000, None, 12_000)])
def test_no_more_waits_in_the_kernel_than_a_quarter_of_a_second(rate: float, cap: float | None, expected: int) -> None:
    assert unsent_bytes(rate, cap) == expected
    assert unsent_bytes(10**9, None) == 262_144
    assert unsent_bytes(10**9, 48_000) == 12_000


def test_the_first_window_is_that_of_tcp_and_later_ones_follow_the_line() -> None:
    assert window_bytes(0, RoundTrip(), 1368) == 13_680
    idle, full = RoundTrip(0.8, 0.81), RoundTrip(0.8, 1.05)
    assert window_bytes(8_000, idle, 1368) == 8_000 * 1.6 + 1_200 + 1368, "no queue is seen: the line may carry more"
    assert window_bytes(8_000, full, 1368) == 8_000 * 0.8 + 1_200 + 1368


@pytest.mark.parametrize("shortest", [0.0, 0.001, 0.05, 0.3, 0.715, 2.0])
@pytest.mark.parametrize("line", [8_000.0, 48_000.0, 1_250_000.0])
def test_from_the_first_window_a_line_is_full_in_twelve_round_trips_and_its_queue_stays_short(
    line: float, shortest: float
) -> None:
    window, trips = window_bytes(0, RoundTrip(), 1368), 0
    while window < line * shortest + 1368 and trips < 100:
        late = max(shortest, window / line)
        window = window_bytes(min(line, window / max(late, 1e-3)), RoundTrip(shortest, late), 1368)
        trips += 1
    assert trips <= 12
    for _ in range(5):
        late = max(shortest, window / line)
        window = window_bytes(line, RoundTrip(shortest, late), 1368)
    queue = min(window_bytes(line, RoundTrip(shortest, shortest + 1.0), 1368), window) - line * shortest
    assert queue / line <= 0.25 + 1368 / line
