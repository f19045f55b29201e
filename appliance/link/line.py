"""Is the line up? Decided from answers and faults alone. Pure: time is an argument.

One cut is not an outage: the transfer goes on over a new connection at once. Only when that fails too is the line
*down*, and then a single probe asks for it instead of every transfer.
"""

from __future__ import annotations

import msgspec


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
