"""Is the line up? Decided from answers and faults alone. Pure: time is an argument.

One cut is not an outage: the transfer goes on over a new connection at once. Only when that fails too is the line
*down*, and then a single probe asks for it instead of every transfer.
"""

from __future__ import annotations

from typing import Final

import msgspec

_HAIL_SECONDS: Final = 0.5
_HAIL_SHARE: Final = 1 / 120  # of the outage so far: a minute of it is still asked about twice a second


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the line."""

    up: bool = False
    since: int = 0  # Unix ms; of this state
    faults: int = 0  # separate faults since the last answer
    fault_at: float = float("-inf")  # monotonic seconds; the last one counted


def after_answer(line: Line, now_ms: int) -> Line:
    """Any whole answer of the hub, a refusal too, shows that the line is up."""
    return Line(up=True, since=line.since if line.up else now_ms)


def after_fault(line: Line, now_ms: int, *, started: float, now: float, unreachable: bool = False) -> Line:
    """A request that `started` (monotonic seconds) got no answer.

    Requests that were already under way at the last fault fell with it and are not counted again. `unreachable`: there
    is no way out at all (the interface is gone), so one fault is enough.
    """
    if line.faults and started <= line.fault_at and not unreachable:
        return line
    faults = line.faults + 1
    up = line.up and faults < 2 and not unreachable
    return Line(up=up, since=line.since if up == line.up else now_ms, faults=faults, fault_at=now)


def hail_pause(outage: float, longest: float, *, chance: float) -> float:
    """Seconds between two greetings of a line that does not answer, none of which waits for the one before it.

    Short ones, because the kernel's own tries come later and later: after an outage of 20 s TCP may wait as long again.
    They grow with the `outage` (seconds so far) up to `longest`, for each costs bytes. `chance` is uniform in [0, 1):
    many units do not hail in step.
    """
    return min(max(_HAIL_SECONDS, outage * _HAIL_SHARE), longest) * (0.75 + 0.5 * chance)
