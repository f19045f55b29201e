"""The line goes to the most urgent study, then to the oldest; only the more urgent interrupts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from appliance.model.priority import Priority
from appliance.store_forward.schedule import Candidate, Plan, Stage, plan, turn

STAT, URGENT, ROUTINE, PRIOR = Priority


def parcel(number: int, priority: Priority = ROUTINE, *, study: int = 1, at: int = 1000) -> Candidate:
    return Candidate(parcel=number, study=study, priority=priority, first_received_at=at)


def ready(*numbers: int) -> dict[int, Stage]:
    return dict.fromkeys(numbers, Stage.READY)


def test_priority_comes_before_age_and_age_before_the_order_of_packing() -> None:
    line = [parcel(1), parcel(2, PRIOR, study=2, at=1), parcel(3, STAT, study=3, at=9000), parcel(4, study=4, at=900)]
    assert [c.parcel for c in sorted(line, key=turn)] == [3, 4, 1, 2]


def test_the_first_ready_parcel_gets_a_free_line() -> None:
    assert plan([parcel(2), parcel(1)], ready(1, 2), on_line=None, ahead=4) == Plan(False, 1, ())
    assert plan([parcel(1), parcel(2)], {1: Stage.PREPARING, 2: Stage.READY}, on_line=None, ahead=4).stream == 2


def test_a_stat_parcel_ends_a_routine_transfer_before_it_is_opened_itself() -> None:
    decided = plan([parcel(9, STAT, study=2), parcel(1)], ready(1), on_line=ROUTINE, ahead=4)
    assert decided == Plan(True, None, (9,))


def test_the_line_is_kept_for_a_stat_parcel_that_is_being_opened() -> None:
    decided = plan([parcel(9, STAT, study=2), parcel(1)], {9: Stage.PREPARING, **ready(1)}, on_line=None, ahead=4)
    assert decided.stream is None


def test_an_older_study_of_the_same_priority_does_not_interrupt() -> None:
    assert not plan([parcel(1, at=1)], ready(1), on_line=ROUTINE, ahead=4).give_way


def test_a_transfer_whose_study_was_made_less_urgent_gives_way() -> None:
    assert plan([parcel(1, ROUTINE)], ready(1), on_line=PRIOR, ahead=4) == Plan(True, 1, ())


def test_the_next_parcels_are_opened_while_one_streams() -> None:
    line = [parcel(n) for n in range(1, 9)]
    assert plan(line, ready(1), on_line=ROUTINE, ahead=4).prepare == (2, 3, 4)


def test_with_nothing_to_send_nothing_is_done() -> None:
    assert plan([], {}, on_line=None, ahead=4) == Plan(False, None, ())
    assert plan([], {}, on_line=ROUTINE, ahead=4) == Plan(False, None, ())


CANDIDATES = st.lists(
    st.builds(
        Candidate,
        parcel=st.integers(1, 50),
        study=st.integers(1, 5),
        priority=st.sampled_from(Priority),
        first_received_at=st.integers(0, 3),
    ),
    unique_by=lambda c: c.parcel,
    max_size=20,
)
STAGES = st.dictionaries(st.integers(1, 50), st.sampled_from(Stage))


@given(CANDIDATES, STAGES, st.one_of(st.none(), st.sampled_from(Priority)), st.integers(1, 6))
def test_no_parcel_ever_goes_before_a_more_urgent_one(
    candidates: list[Candidate], stages: dict[int, Stage], on_line: Priority | None, ahead: int
) -> None:
    decided = plan(candidates, stages, on_line=on_line, ahead=ahead)
    by_number = {c.parcel: c for c in candidates}
    best = min((c.priority for c in candidates), default=None)
    assert decided.give_way == (on_line is not None and best is not None and best < on_line)
    if decided.stream is not None:
        chosen = by_number[decided.stream]
        assert chosen.priority == best
        assert on_line is None or decided.give_way
        assert stages[chosen.parcel] is Stage.READY
        same = [c for c in candidates if c.priority == best and stages.get(c.parcel) is Stage.READY]
        assert chosen == min(same, key=turn)
    assert len(decided.prepare) <= ahead
    assert not set(decided.prepare) & set(stages)


@given(CANDIDATES)
def test_a_free_line_and_ready_parcels_never_stand_still(candidates: list[Candidate]) -> None:
    stages = ready(*(c.parcel for c in candidates))
    assert (plan(candidates, stages, on_line=None, ahead=4).stream is None) == (not candidates)
