"""Trying again: weeks without a line count for nothing, and a bad item does not hold up the rest."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.model.retry import CONTENT_FAULTS_MAX, Fault, Retry, Tries, after_fault, after_progress

CHANCE = st.floats(0, 1, exclude_max=True)


def again(tries: Tries, fault: Fault, *, chance: float = 0.5, asked: float | None = None) -> Retry:
    return after_fault(tries, fault, chance=chance, seconds_max=5.0, asked=asked)


def test_three_weeks_without_a_line_never_count() -> None:
    tries, seconds = Tries(), 0.0
    while seconds < 21 * 86400:
        retry = again(tries, Fault.LINK)
        assert not retry.give_up
        tries, seconds = retry.tries, seconds + retry.seconds
    assert tries.content == 0
    assert again(tries, Fault.LINK, chance=0.999).seconds <= 5.0, "and when it is back, we are there within seconds"


def test_the_first_retry_is_immediate() -> None:
    assert again(Tries(), Fault.LINK).seconds == 0
    assert again(after_progress(again(Tries(), Fault.LINK).tries), Fault.LINK).seconds == 0


@given(st.integers(1, 10**9), CHANCE)
def test_pauses_on_a_failing_line_have_jitter_and_a_ceiling(faults: int, chance: float) -> None:
    retry = again(Tries(faults), Fault.LINK, chance=chance)
    assert 0 <= retry.seconds <= 5.0
    assert again(Tries(faults), Fault.LINK, chance=0.0).seconds == 0.0
    assert retry.tries.in_a_row == faults + 1


@given(st.integers(0, 10**9), CHANCE, st.one_of(st.none(), st.floats(-1e9, 1e12)))
def test_a_busy_or_refusing_hub_is_asked_again_slowly_for_ever(faults: int, chance: float, asked: float | None) -> None:
    for fault in (Fault.BUSY, Fault.REFUSED):
        retry = again(Tries(faults, 2), fault, chance=chance, asked=asked)
        assert not retry.give_up
        assert retry.tries.content == 2
        assert 0 <= retry.seconds <= 300
    assert again(Tries(), Fault.REFUSED, chance=chance).seconds >= 15


def test_what_the_hub_asks_is_done() -> None:
    assert again(Tries(), Fault.BUSY, asked=7).seconds == 7
    assert again(Tries(), Fault.BUSY).seconds > 0


def test_content_faults_count_and_the_third_ends_it() -> None:
    tries = Tries()
    for number in range(1, CONTENT_FAULTS_MAX + 1):
        retry = again(after_progress(tries), Fault.CONTENT)
        tries = retry.tries
        assert retry.give_up == (number == CONTENT_FAULTS_MAX)
        assert not again(tries, Fault.LINK).give_up, "a link fault after it is still none"


@pytest.mark.parametrize("fault", list(Fault))
def test_progress_forgets_pauses_and_remembers_content(fault: Fault) -> None:
    retry = again(Tries(4, 1), fault)
    assert after_progress(retry.tries) == Tries(0, 1 + (fault is Fault.CONTENT))
