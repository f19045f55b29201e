"""Steps of help: each at most once in its time, the cheap ones first, at pauses that grow."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from appliance.link.watchdog import (
    LONGEST_PAUSE,
    LONGEST_RETURN,
    Pace,
    Scene,
    Watch,
    after,
    comeback_pause,
    next_step,
    observe,
    round_pause,
)
from appliance.model.tunnel import Outcome, Step

PACE = Pace(step=15.0, comeback=300.0)
LOOK_UP, SET, REKEY, NEXT, BETTER = Step
DONE, SAME, FAILED = Outcome.DONE, Outcome.SAME, Outcome.FAILED


def play(
    seconds: int,
    *,
    outcomes: dict[Step, Outcome] | None = None,
    watch: Watch | None = None,
    start: int = 0,
    up: bool = False,
    named: bool = True,
    uplinks: int = 1,
    place: int = 0,
    dead: frozenset[int] = frozenset(),
) -> tuple[list[tuple[int, Step]], Watch, int]:
    """Each second asked and done. Returns the steps with their times, what is known then, and the uplink in use."""
    watch, steps = watch or Watch(), []
    for now in range(start, start + seconds):
        scene = Scene(up=up, named=named, uplinks=uplinks, place=place, dead=place in dead)
        watch = observe(watch, scene)
        step = next_step(watch, scene, PACE, now)
        if step is None:
            continue
        steps.append((now, step))
        outcome = (outcomes or {}).get(step, DONE)
        watch = after(watch, step, outcome, scene, PACE, now)
        if step is NEXT and outcome is DONE:
            place = next(other % uplinks for other in range(place + 1, place + uplinks) if other % uplinks not in dead)
        if step is BETTER and outcome is DONE:
            place = 0
    return steps, watch, place


def test_a_new_address_is_set_at_once_and_the_peer_only_when_that_does_not_help() -> None:
    steps, _, _ = play(20)
    assert steps == [(0, LOOK_UP), (1, SET), (16, REKEY)]


def test_an_address_that_is_the_one_in_use_is_not_set_again() -> None:
    for outcome in (SAME, FAILED):
        steps, _, _ = play(20, outcomes={LOOK_UP: outcome})
        assert steps == [(0, LOOK_UP), (15, REKEY)]


def test_an_endpoint_that_is_an_address_is_never_looked_up() -> None:
    steps, _, _ = play(3600, named=False)
    assert {step for _, step in steps} == {SET, REKEY}


def test_the_next_uplink_comes_last_and_then_all_begins_anew_there() -> None:
    steps, _, place = play(50, outcomes={LOOK_UP: SAME}, uplinks=2)
    assert steps == [(0, LOOK_UP), (15, REKEY), (30, NEXT), (45, LOOK_UP)]
    assert place == 1


def test_an_uplink_without_a_carrier_is_left_at_once() -> None:
    steps, _, place = play(2, uplinks=3, dead=frozenset({0}))
    assert steps[0] == (0, NEXT)
    assert place == 1


def test_a_cable_that_is_out_is_left_before_any_answer_is_missed() -> None:
    steps, _, place = play(5, up=True, uplinks=2, dead=frozenset({0}))
    assert steps == [(0, NEXT)]
    assert place == 1
    assert play(300, up=True, uplinks=1, dead=frozenset({0}))[0] == []


def test_when_every_cable_is_out_it_looks_again_at_growing_pauses() -> None:
    steps, _, _ = play(3600, outcomes={NEXT: FAILED}, up=True, uplinks=2, dead=frozenset({0, 1}))
    gaps = [late - early for (early, _), (late, _) in itertools.pairwise(steps)]
    assert gaps == sorted(gaps)
    assert gaps[-1] == LONGEST_PAUSE


def test_when_the_tunnel_is_up_nothing_is_done_on_the_best_uplink() -> None:
    assert play(100_000, up=True, uplinks=3)[0] == []


def test_the_next_trouble_begins_with_the_first_step() -> None:
    _, watch, _ = play(500)
    _, watch, _ = play(1, start=500, up=True, watch=watch)
    steps, _, _ = play(3, start=600, watch=watch)
    assert steps == [(600, LOOK_UP), (601, SET)]


def test_pauses_grow_to_a_ceiling_and_it_never_gives_up() -> None:
    steps, _, _ = play(7200, outcomes={LOOK_UP: SAME})
    starts = [now for now, step in steps if step is LOOK_UP]
    gaps = [late - early for early, late in itertools.pairwise(starts)]
    assert gaps == sorted(gaps)
    assert gaps[-1] == LONGEST_PAUSE + PACE.step


@given(
    outcomes=st.fixed_dictionaries({step: st.sampled_from(list(Outcome)) for step in (LOOK_UP, SET, REKEY)}),
    named=st.booleans(),
    uplinks=st.integers(1, 4),
)
def test_no_step_is_done_twice_within_the_time_it_is_given(
    outcomes: dict[Step, Outcome], named: bool, uplinks: int
) -> None:
    steps, _, _ = play(900, outcomes=outcomes, named=named, uplinks=uplinks)
    last: dict[Step, int] = {}
    for now, step in steps:
        assert now - last.get(step, -1000) >= PACE.step
        last[step] = now
    assert len(steps) >= 10, "it goes on"


@given(uplinks=st.integers(2, 8), dead=st.frozensets(st.integers(0, 7)))
def test_every_uplink_with_a_carrier_is_tried_before_the_pauses_grow(uplinks: int, dead: frozenset[int]) -> None:
    alive = set(range(uplinks)) - dead
    if len(alive) < 2:
        return
    watch, place, tried = Watch(), 0, set()
    for now in range(60 * uplinks):
        scene = Scene(up=False, named=True, uplinks=uplinks, place=place, dead=place in dead)
        step = next_step(watch, scene, PACE, now)
        if step is not None:
            watch = after(watch, step, SAME if step is LOOK_UP else DONE, scene, PACE, now)
            if step is NEXT:
                place = next(p % uplinks for p in range(place + 1, place + uplinks) if p % uplinks not in dead)
        tried.add(place)
    assert alive <= tried


def test_a_better_uplink_is_tried_again_after_a_pause() -> None:
    steps, _, place = play(400, up=True, uplinks=2, place=1, watch=Watch(moved=0.0, last=0.0))
    assert steps == [(300, BETTER)]
    assert place == 0


def test_a_better_uplink_that_leads_nowhere_is_tried_at_growing_pauses() -> None:
    steps, _, place = play(
        100_000, up=True, uplinks=2, place=1, outcomes={BETTER: FAILED}, watch=Watch(moved=0.0, last=0.0)
    )
    gaps = [late - early for (early, _), (late, _) in itertools.pairwise(steps)]
    assert gaps[:3] == [600, 1200, 2400]
    assert gaps[-1] == LONGEST_RETURN
    assert place == 1


def test_a_comeback_without_an_answer_is_left_again_in_one_step_and_waited_for_longer() -> None:
    watch = after(Watch(moved=0.0, last=0.0), BETTER, DONE, Scene(up=True, named=True, uplinks=2, place=1), PACE, 300)
    steps, watch, place = play(20, start=301, watch=watch, uplinks=2, place=0)
    assert steps == [(315, NEXT)]
    assert (place, watch.comebacks) == (1, 1)
    steps, _, _ = play(1000, start=330, up=True, watch=watch, uplinks=2, place=1)
    assert steps == [(915, BETTER)]


def test_an_uplink_that_lasted_is_forgiven() -> None:
    watch = Watch(moved=0.0, comebacks=3)
    first = Scene(up=False, named=True, uplinks=2, place=0)
    assert after(watch, NEXT, DONE, first, PACE, comeback_pause(3, PACE)).comebacks == 0
    assert after(watch, NEXT, DONE, first, PACE, 10.0).comebacks == 4


@given(st.integers(0, 10**6), st.integers(0, 8))
def test_pauses_are_never_shorter_than_a_step_nor_longer_than_their_ceiling(count: int, uplinks: int) -> None:
    assert PACE.step <= round_pause(count, uplinks, PACE) <= LONGEST_PAUSE
    assert PACE.comeback <= comeback_pause(count, PACE) <= LONGEST_RETURN
