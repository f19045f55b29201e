"""The states of a performed procedure step: every state with every wish."""

from __future__ import annotations

from itertools import product

import pytest

from appliance.model.performed import STEP_TRANSITIONS, StepState, is_complete, state_after

OPEN, DONE, STOPPED = StepState.IN_PROGRESS, StepState.COMPLETED, StepState.DISCONTINUED


@pytest.mark.parametrize(("state", "asked"), [*product(StepState, [*StepState, None])])
def test_only_a_step_in_progress_changes(state: StepState, asked: StepState | None) -> None:
    assert state_after(state, asked) is ((asked or OPEN) if state is OPEN else None)


def test_no_transition_leads_out_of_an_end() -> None:
    assert {before for before, _ in STEP_TRANSITIONS} == {OPEN}


@pytest.mark.parametrize(
    ("states", "named", "here", "complete"),
    [
        ([DONE], 3, 3, True),
        ([DONE, STOPPED], 3, 3, True),
        ([DONE], 3, 2, False),
        ([DONE], 0, 0, False),  # it names nothing: nobody knows
        ([DONE, OPEN], 3, 3, False),
        ([STOPPED], 3, 3, False),
        ([], 3, 3, False),
    ],
)
def test_a_study_is_complete_when_a_completed_step_and_all_that_is_named_are_here(
    states: list[StepState], named: int, here: int, complete: bool
) -> None:
    assert is_complete(states, named, here) is complete
