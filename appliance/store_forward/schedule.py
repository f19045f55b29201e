"""Which parcel goes next, and when the one on the line must give way. Pure.

Priority is that of the parcel's study *now*: a study that a person made urgent a second ago counts as urgent. Among
equals the study that came first goes first, so that studies are whole at the hub one after the other. Only a more
urgent parcel interrupts; an older one of the same priority waits for its turn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

import msgspec

from appliance.model.priority import Priority


class Stage(StrEnum):
    """How far a parcel is with the hub. One that is not listed has not been asked for in this life of the process."""

    PREPARING = "preparing"  # its upload is being opened, or its offset asked
    READY = "ready"  # it can be streamed from the offset that the hub gave


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A parcel that could use the line now: not wholly at the hub, not waiting for an answer or for its next try."""

    parcel: int
    study: int
    priority: Priority
    first_received_at: int  # Unix ms; of its study


class Plan(NamedTuple):
    """What to do now."""

    give_way: bool  # end the transfer that is on the line
    stream: int | None  # put this parcel on the line
    prepare: tuple[int, ...]  # open these at the hub, so that the line never waits for a round trip


def turn(candidate: Candidate) -> tuple[int, int, int, int]:
    """The sort key of the line."""
    return (candidate.priority, candidate.first_received_at, candidate.study, candidate.parcel)


def plan(candidates: Sequence[Candidate], stages: Mapping[int, Stage], *, on_line: Priority | None, ahead: int) -> Plan:
    """Decides from the first `candidates` in turn (any order) and their `stages`.

    `on_line` is the present priority of the parcel being streamed, which is not a candidate; None when the line is
    free. `ahead` is how many parcels may be opened at the hub before their turn.
    """
    line = sorted(candidates, key=turn)
    if not line:
        return Plan(False, None, ())
    best = line[0].priority
    prepare = tuple(c.parcel for c in line[:ahead] if c.parcel not in stages)
    give_way = on_line is not None and best < on_line
    if on_line is not None and not give_way:
        return Plan(False, None, prepare)
    ready = (c.parcel for c in line if c.priority == best and stages.get(c.parcel) is Stage.READY)
    return Plan(give_way, next(ready, None), prepare)
