"""How long a person waits after wrong PINs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from appliance.model.throttle import FREE, WINDOW_MS, wait_ms

NOW = 1_795_492_800_000
failures = st.lists(st.integers(NOW - 2 * WINDOW_MS, NOW + 2 * WINDOW_MS), max_size=60)


def test_the_first_two_wrong_pins_cost_nothing() -> None:
    assert wait_ms([NOW - 1] * (FREE - 1), NOW) == 0


def test_the_wait_doubles_with_each_further_one() -> None:
    assert [wait_ms([NOW] * n, NOW) for n in range(FREE, FREE + 4)] == [2000, 4000, 8000, 16000]


def test_it_grows_to_five_minutes_and_no_further() -> None:
    assert wait_ms([NOW] * 60, NOW) == 300_000


def test_where_many_share_an_address_more_is_free_and_the_wait_shorter() -> None:
    assert wait_ms([NOW] * 9, NOW, free=10, longest_ms=30_000) == 0
    assert wait_ms([NOW] * 10, NOW, free=10, longest_ms=30_000) == 2000
    assert wait_ms([NOW] * 60, NOW, free=10, longest_ms=30_000) == 30_000


@given(failures, st.integers(0, WINDOW_MS))
def test_waiting_makes_the_wait_shorter_and_it_always_ends(times: list[int], later: int) -> None:
    past = [at for at in times if at <= NOW]
    assert wait_ms(past, NOW + later) <= wait_ms(past, NOW)
    assert wait_ms(past, NOW + 300_000) == 0


@given(failures)
def test_a_clock_that_jumped_back_locks_nobody_out(times: list[int]) -> None:
    past = [at for at in times if at <= NOW]
    assert wait_ms(times, NOW) == wait_ms(past, NOW)


@given(failures)
def test_guessing_is_slow_however_it_is_timed(times: list[int]) -> None:
    """Tries that are made as soon as they may be: in an hour they are few."""
    done: list[int] = []
    now = NOW
    while now < NOW + WINDOW_MS:
        now += wait_ms(done, now) or 1
        done.append(now)
        assert len(done) < 30
