"""When to try again, and when a person must look. Pure: chance and time are arguments.

A line that fails says nothing about what was sent over it, so link faults, a busy hub and a hub that refuses this unit
never count, for seconds or for weeks. Only a fault of the content itself counts, and after the third the item is
put aside with a reason while the rest flows.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

CONTENT_FAULTS_MAX: Final = 3
_FIRST_PAUSE: Final = 0.25
_BUSY_PAUSE: Final = 1.0
_BUSY_PAUSE_MAX: Final = 30.0
_ASKED_MAX: Final = 300.0
_REFUSED_PAUSE: Final = 30.0
_DOUBLINGS_MAX: Final = 16


class Fault(StrEnum):
    LINK = "link"  # no answer, or none that makes sense: connect, reset, time-out
    BUSY = "busy"  # the hub asks to wait: locked, too many, no room, or an error of its own
    REFUSED = "refused"  # the hub does not accept this unit, or is no hub
    CONTENT = "content"  # the hub can't use these bytes


class Tries(msgspec.Struct, frozen=True):
    """What went wrong so far with one item, or with the line."""

    in_a_row: int = 0  # faults since the last progress
    content: int = 0  # content faults in all; progress does not forget them


class Retry(msgspec.Struct, frozen=True):
    """Try again after `seconds`; or give the item to a person."""

    seconds: float
    tries: Tries
    give_up: bool = False


def after_fault(tries: Tries, fault: Fault, *, chance: float, seconds_max: float, asked: float | None = None) -> Retry:
    """What to do after `fault`. `chance` is uniform in [0, 1); `seconds_max` the longest pause on a failing line.

    `asked` is the hub's `Retry-After` in seconds, kept to five minutes. The first retry after progress is immediate on
    a failing line; the pauses after it grow with full jitter, so that a hundred units do not return in step.
    """
    content = tries.content + (fault is Fault.CONTENT)
    after = Tries(tries.in_a_row + 1, content)
    give_up = fault is Fault.CONTENT and content >= CONTENT_FAULTS_MAX
    return Retry(_pause(tries.in_a_row, fault, chance, seconds_max, asked), after, give_up)


def after_progress(tries: Tries) -> Tries:
    """The hub acknowledged something new: pauses start over; content faults stay counted."""
    return Tries(0, tries.content)


def _pause(before: int, fault: Fault, chance: float, seconds_max: float, asked: float | None) -> float:
    growth = float(1 << min(before, _DOUBLINGS_MAX))
    if fault is Fault.REFUSED:
        return _REFUSED_PAUSE * (1 + chance) / 2 if asked is None else _within_reason(asked)
    if fault is Fault.BUSY:
        if asked is not None:
            return _within_reason(asked)
        return min(_BUSY_PAUSE_MAX, _BUSY_PAUSE * growth) * (1 + chance) / 2
    if before == 0:
        return 0.0
    return chance * min(seconds_max, _FIRST_PAUSE * growth)


def _within_reason(asked: float) -> float:
    return min(max(asked, 0.0), _ASKED_MAX)
