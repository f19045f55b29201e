"""Modality performed procedure steps (PS3.4 F.7): their states, and every legal change between them."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class StepState(StrEnum):
    """Performed Procedure Step Status (0040,0252), PS3.3 C.4.14."""

    IN_PROGRESS = "IN PROGRESS"
    COMPLETED = "COMPLETED"
    DISCONTINUED = "DISCONTINUED"


_S = StepState

# What an N-SET asks for → what the step is then. A final state has no row: nothing of it changes any more (F.7.2.2.2).
STEP_TRANSITIONS: Final[dict[tuple[StepState, StepState], StepState]] = {
    (_S.IN_PROGRESS, _S.IN_PROGRESS): _S.IN_PROGRESS,
    (_S.IN_PROGRESS, _S.COMPLETED): _S.COMPLETED,
    (_S.IN_PROGRESS, _S.DISCONTINUED): _S.DISCONTINUED,
}


def state_after(state: StepState, asked: StepState | None) -> StepState | None:
    """The state after an N-SET that asks for `asked` (None: it names no state); None when it is not legal."""
    return STEP_TRANSITIONS.get((state, asked or _S.IN_PROGRESS))


def is_complete(states: list[StepState], named: int, here: int) -> bool:
    """Whether the steps of a study say that all of it is here: none goes on, one is completed, no image lacks.

    `named`: distinct instances that the steps name; `here`: those of them that came.
    """
    ended = _S.COMPLETED in states and _S.IN_PROGRESS not in states
    return ended and 0 < named == here
