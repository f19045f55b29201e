"""The line goes by standing, then by age; what stands better interrupts; and what waits behind has its share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.model.priority import Priority
from appliance.store_forward.schedule import (
    Candidate,
    Conditions,
    Debt,
    Lane,
    OnLine,
    Plan,
    Stage,
    lane_of,
    plan,
    standing,
    turn,
)

STAT, URGENT, ROUTINE, PRIOR = Priority


def parcel(number: int, priority: Priority = ROUTINE, *, study: int = 1, at: int = 1000, **values: Any) -> Candidate:
    return Candidate(parcel=number, study=study, priority=priority, first_received_at=at, **values)


def ready(*numbers: int) -> dict[int, Stage]:
    return dict.fromkeys(numbers, Stage.READY)


def streaming(priority: Priority = ROUTINE, *, trickles: bool = False, **values: Any) -> OnLine:
    return OnLine(candidate=parcel(99, priority, study=99, **values), trickles=trickles)


def decide(
    line: Sequence[Candidate], stages: dict[int, Stage], on_line: OnLine | None = None, **conditions: Any
) -> Plan:
    return plan(line, stages, on_line, Conditions(**conditions))


def test_priority_comes_before_age_and_age_before_the_order_of_packing() -> None:
    line = [parcel(1), parcel(2, PRIOR, study=2, at=1), parcel(3, STAT, study=3, at=9000), parcel(4, study=4, at=900)]
    assert [c.parcel for c in sorted(line, key=turn)] == [3, 4, 1, 2]


def test_within_a_priority_previews_come_first_and_then_what_the_hub_asked_for() -> None:
    line = [
        parcel(1),
        parcel(2, rank=-1, at=5000),
        parcel(3, lane=Lane.PREVIEW, at=9000),
        parcel(4, rank=1, at=1),
        parcel(5, URGENT, at=9000),
        parcel(6, PRIOR, lane=Lane.PREVIEW, at=1),
    ]
    assert [c.parcel for c in sorted(line, key=turn)] == [5, 3, 2, 1, 4, 6]


def test_a_parcel_is_in_the_lane_of_previews_until_the_hub_has_its_preview() -> None:
    assert [lane_of(offset, 100) for offset in (0, 99, 100)] == [Lane.PREVIEW, Lane.PREVIEW, Lane.REST]
    assert lane_of(0, 0) is Lane.REST


def test_an_aged_routine_study_counts_as_urgent_and_nothing_ever_as_stat() -> None:
    urgencies = [standing(parcel(1, priority, at=10), 11).urgency for priority in Priority]
    assert urgencies == [STAT, URGENT, URGENT, PRIOR]
    assert standing(parcel(1, at=11), 11).urgency is ROUTINE


def test_the_first_ready_parcel_gets_a_free_line() -> None:
    assert decide([parcel(2), parcel(1)], ready(1, 2)).stream == 1
    assert decide([parcel(1), parcel(2)], {1: Stage.PREPARING, 2: Stage.READY}).stream == 2


def test_a_stat_parcel_ends_a_routine_transfer_before_it_is_opened_itself() -> None:
    decided = decide([parcel(9, STAT, study=2), parcel(1)], ready(1), streaming())
    assert (decided.give_way, decided.stream, decided.prepare) == (True, None, (9,))


def test_the_line_is_kept_for_a_stat_parcel_that_is_being_opened() -> None:
    assert decide([parcel(9, STAT, study=2), parcel(1)], {9: Stage.PREPARING, **ready(1)}).stream is None


def test_an_older_study_of_the_same_priority_does_not_interrupt() -> None:
    assert not decide([parcel(1, at=1)], ready(1), streaming()).give_way


def test_a_preview_and_a_wish_interrupt_what_is_as_urgent_once_they_are_ready() -> None:
    for better in (parcel(1, lane=Lane.PREVIEW, at=9000), parcel(1, rank=-1, at=9000)):
        assert not decide([better], {}, streaming()).give_way
        decided = decide([better], ready(1), streaming())
        assert (decided.give_way, decided.stream) == (True, 1)
        assert not decide([better], ready(1), streaming(URGENT)).give_way


def test_a_transfer_whose_study_was_made_less_urgent_gives_way() -> None:
    decided = decide([parcel(1, ROUTINE)], ready(1), streaming(PRIOR))
    assert (decided.give_way, decided.stream) == (True, 1)


def test_the_next_parcels_are_opened_while_one_streams() -> None:
    assert decide([parcel(n) for n in range(1, 9)], ready(1), streaming()).prepare == (2, 3, 4)


def test_with_nothing_to_send_nothing_is_done() -> None:
    assert decide([], {}) == Plan()
    assert decide([], {}, streaming()) == Plan()


# What may not go


def test_what_may_not_go_is_neither_sent_nor_opened_and_leaves_the_line() -> None:
    line = [parcel(1), parcel(2, STAT, study=2)]
    decided = decide(line, ready(1), streaming(), may_go={STAT})
    assert (decided.give_way, decided.stream, decided.prepare) == (True, None, (2,))
    assert decide([parcel(1)], ready(1), streaming(), may_go={STAT}) == Plan(give_way=True)


def test_an_aged_study_goes_by_its_own_priority_where_the_hours_ask() -> None:
    assert decide([parcel(1, at=1)], ready(1), may_go={STAT, URGENT}, aged_before=500).stream is None


# The trickle


def test_when_enough_is_owed_the_oldest_of_all_that_waits_behind_has_the_line() -> None:
    line = [parcel(1, URGENT), parcel(2, ROUTINE, at=500), parcel(3, PRIOR, at=100)]
    decided = decide(line, ready(1, 2, 3), streaming(URGENT), pays=True)
    assert (decided.give_way, decided.stream, decided.trickles) == (True, 3, True)
    assert not decide(line, ready(1, 2, 3), streaming(URGENT)).give_way


def test_nothing_is_paid_while_a_stat_study_waits_or_goes() -> None:
    assert not decide([parcel(1, at=1)], ready(1), streaming(STAT), pays=True).give_way
    assert not decide([parcel(1, at=1), parcel(2, STAT)], ready(1, 2), None, pays=True).trickles


def test_stat_interrupts_the_trickle_at_once_and_the_front_when_all_is_paid() -> None:
    trickle = streaming(PRIOR, trickles=True)
    assert not decide([parcel(1, URGENT)], ready(1), trickle, pays=True).give_way
    assert decide([parcel(1, STAT)], {}, trickle, pays=True).give_way
    paid = decide([parcel(1, URGENT)], ready(1), trickle)
    assert (paid.give_way, paid.stream, paid.trickles) == (True, 1, False)
    assert not decide([parcel(1, URGENT)], {}, trickle).give_way, "until the front is ready the line is not idle"


def test_what_is_to_be_paid_is_opened_first_and_the_front_goes_on_meanwhile() -> None:
    line = [*(parcel(n, URGENT) for n in range(1, 9)), parcel(20, PRIOR)]
    decided = decide(line, ready(*range(1, 9)), streaming(URGENT), pays=True)
    assert (decided.give_way, decided.prepare) == (False, (20,))


def test_a_debt_grows_by_its_share_is_paid_as_a_whole_and_has_a_ceiling() -> None:
    debt = Debt()
    for _ in range(18):
        debt = debt.after_front(32_768, 0.05, 0)
    assert not debt.paying
    debt = debt.after_front(65_536, 0.05, 0)
    assert debt.paying
    assert debt.after_trickle(1000).paying
    assert debt.after_trickle(40_000) == Debt()
    assert Debt().after_front(10**12, 0.05, 10_000.0).bytes == 4 * 40_000


@given(st.floats(0.01, 0.5), st.lists(st.integers(1, 100_000), min_size=1, max_size=200))
def test_over_any_time_what_waits_has_its_share_but_for_one_payment(share: float, pieces: list[int]) -> None:
    debt, front, behind = Debt(), 0, 0
    for piece in pieces:
        if debt.paying:
            count = min(piece, int(debt.bytes) + 1)
            debt, behind = debt.after_trickle(count), behind + count
        else:
            debt, front = debt.after_front(piece, share, 0), front + piece
    assert behind <= front * share / (1 - share) + len(pieces)
    assert behind + debt.bytes >= min(front * share / (1 - share), 32_768) - 1


# Properties

CANDIDATES = st.lists(
    st.builds(
        Candidate,
        parcel=st.integers(1, 50),
        study=st.integers(1, 5),
        priority=st.sampled_from(Priority),
        first_received_at=st.integers(0, 3),
        lane=st.sampled_from(Lane),
        rank=st.integers(-1, 1),
    ),
    unique_by=lambda c: c.parcel,
    max_size=20,
)
STAGES = st.dictionaries(st.integers(1, 50), st.sampled_from(Stage))
ON_LINE = st.one_of(
    st.none(),
    st.builds(
        lambda p, lane, trickles: streaming(p, lane=lane, trickles=trickles),
        st.sampled_from(Priority),
        st.sampled_from(Lane),
        st.booleans(),
    ),
)
CONDITIONS = st.builds(
    Conditions,
    may_go=st.frozensets(st.sampled_from(Priority)),
    aged_before=st.integers(0, 3),
    pays=st.booleans(),
    ahead=st.integers(1, 6),
)


@given(CANDIDATES, STAGES, ON_LINE, CONDITIONS)
def test_nothing_goes_before_what_is_more_urgent_but_to_pay_a_debt(
    candidates: list[Candidate], stages: dict[int, Stage], on_line: OnLine | None, conditions: Conditions
) -> None:
    decided = plan(candidates, stages, on_line, conditions)
    by_number = {c.parcel: c for c in candidates}
    may = [c for c in candidates if c.priority in conditions.may_go]
    best = min((standing(c, conditions.aged_before).urgency for c in may), default=None)
    if decided.stream is not None:
        chosen = by_number[decided.stream]
        assert chosen.priority in conditions.may_go
        assert stages[chosen.parcel] is Stage.READY
        assert on_line is None or decided.give_way
        if not decided.trickles:
            assert standing(chosen, conditions.aged_before).urgency is best
        else:
            assert conditions.pays
            assert best is not STAT
    if on_line is not None and best is STAT and on_line.candidate.priority is not STAT:
        assert decided.give_way
    assert not set(decided.prepare) & set(stages)
    assert len(decided.prepare) <= conditions.ahead + 1
    assert all(by_number[number].priority in conditions.may_go for number in decided.prepare)


@given(CANDIDATES, CONDITIONS)
def test_a_free_line_and_ready_parcels_never_stand_still(candidates: list[Candidate], conditions: Conditions) -> None:
    stages = ready(*(c.parcel for c in candidates))
    may = [c for c in candidates if c.priority in conditions.may_go]
    assert (plan(candidates, stages, None, conditions).stream is None) == (not may)


class Line:
    """A line that carries a piece at a time, as `sender` drives the plan; parcels of `size` bytes."""

    def __init__(self, size: int, share: float) -> None:
        self.left: dict[int, int] = {}
        self.waiting: dict[int, Candidate] = {}
        self.size, self.share = size, share
        self.debt = Debt()
        self.on_line: OnLine | None = None
        self.behind = False

    def add(self, candidate: Candidate) -> None:
        self.waiting[candidate.parcel] = candidate
        self.left[candidate.parcel] = self.size

    def step(self, piece: int) -> int:
        """Decides, and carries one piece. Returns the parcel that had it."""
        rest = [c for c in self.waiting.values() if self.on_line is None or c is not self.on_line.candidate]
        decided = plan(rest, ready(*self.waiting), self.on_line, Conditions(pays=self.debt.paying))
        self.behind = decided.behind
        if decided.stream is not None:
            self.on_line = OnLine(candidate=self.waiting[decided.stream], trickles=decided.trickles)
        assert self.on_line is not None
        return self._carry(piece)

    def _carry(self, piece: int) -> int:
        assert self.on_line is not None
        number = self.on_line.candidate.parcel
        if self.on_line.trickles:
            self.debt = self.debt.after_trickle(piece)
        elif self.behind:
            self.debt = self.debt.after_front(piece, self.share, 0)
        self.left[number] -= piece
        if self.left[number] <= 0:
            del self.waiting[number], self.left[number]
            self.on_line = None
        return number


@pytest.mark.parametrize("waits", [ROUTINE, PRIOR])
@pytest.mark.parametrize("share", [0.02, 0.05, 0.5])
def test_nothing_starves_behind_a_line_of_urgent_studies_that_never_ends(waits: Priority, share: float) -> None:
    line = Line(100_000, share)
    line.add(parcel(1, waits, study=1, at=0))
    had = 0
    for number in range(2, 2 + int(8 / share)):
        line.add(parcel(number, URGENT, study=number, at=number))
        for _ in range(25):
            had += 4000 if line.waiting and line.step(4000) == 1 else 0
            if 1 not in line.waiting:
                break
        if 1 not in line.waiting:
            break
    assert 1 not in line.waiting, "the old study is through"
    assert number * 100_000 <= 1.5 * (100_000 + 2 * 32_768) / share


@given(st.lists(st.sampled_from([URGENT, ROUTINE, PRIOR]), min_size=1, max_size=12), st.integers(1, 200))
def test_stat_has_the_very_next_piece_whatever_goes_on(others: list[Priority], steps: int) -> None:
    line = Line(300_000, 0.1)
    for number, priority in enumerate(others, 1):
        line.add(parcel(number, priority, study=number, at=number))
    for _ in range(min(steps, 50 * len(others))):
        line.step(4000)
    line.add(parcel(1000, STAT, study=1000, at=9000))
    while 1000 in line.waiting:
        assert line.step(4000) == 1000
