"""One cut is not an outage; two in a row are; any answer ends it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from appliance.link.line import Line, after_answer, after_fault

UP = Line(up=True, since=100)


def test_one_cut_leaves_the_line_up_and_the_second_takes_it_down() -> None:
    once = after_fault(UP, 500, started=1.0, now=2.0)
    assert (once.up, once.since) == (True, 100)
    twice = after_fault(once, 600, started=2.1, now=3.0)
    assert (twice.up, twice.since) == (False, 600)
    assert after_fault(twice, 700, started=3.1, now=4.0).since == 600


def test_all_that_fell_with_one_cut_is_one_fault() -> None:
    line = after_fault(UP, 500, started=1.0, now=2.0)
    for _ in range(5):
        line = after_fault(line, 501, started=1.5, now=2.01)
    assert line.up


def test_without_a_way_out_the_line_is_down_at_once() -> None:
    assert not after_fault(UP, 500, started=1.0, now=1.0, unreachable=True).up


def test_an_answer_forgets_the_faults() -> None:
    line = after_answer(after_fault(UP, 500, started=1.0, now=2.0), 550)
    assert (line.up, line.since, line.faults) == (True, 100, 0)
    assert after_answer(Line(up=False, since=7), 800).since == 800


@given(st.lists(st.booleans(), max_size=50))
def test_since_changes_only_when_the_state_does(answers: list[bool]) -> None:
    line = UP
    for tick, answered in enumerate(answers, 1):
        before = line
        now = 1000 * tick
        line = after_answer(line, now) if answered else after_fault(line, now, started=tick, now=tick + 0.5)
        assert (line.since != before.since) == (line.up != before.up)
        assert not answered or line.up
