"""Which parcel goes next, and when the one on the line must give way. Pure.

The line goes by *standing*: first the urgency of the parcel's study now (one that a person made urgent a second ago is
urgent, and a routine one that has waited for long counts as urgent too, never as stat); then the lane, previews before
the rests; then what the hub asked for. Among equals the study that came first goes first, so that studies are whole at
the hub one after the other. What stands better interrupts; what is only older waits for its turn.

A share of the line, the *trickle*, is kept for what waits behind the front: bytes of the front are written down as a
debt to it, and when enough is owed the oldest that waits has the line until the debt is paid. It is the oldest of all,
so whatever waits becomes the one in time, and nothing starves. Stat studies run up the debt, but while one waits
nothing is paid.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from enum import IntEnum, StrEnum
from typing import Final, NamedTuple

import msgspec

from appliance.model.priority import Priority

PAY_SECONDS: Final = 4.0  # of the line are owed before they are paid: less would cost more in round trips than it gives
_PAY_BYTES_MIN: Final = 32_768
_DEBT_MAX: Final = 4  # times what is paid at once


class Stage(StrEnum):
    """How far a parcel is with the hub. One that is not listed has not been asked for in this life of the process."""

    PREPARING = "preparing"  # its upload is being opened, or its offset asked
    READY = "ready"  # it can be streamed from the offset that the hub gave


class Lane(IntEnum):
    """What of a parcel goes next."""

    PREVIEW = 0
    REST = 1


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A parcel that could use the line now: not wholly at the hub, not waiting for an answer or for its next try."""

    parcel: int
    study: int
    priority: Priority
    first_received_at: int  # Unix ms; of its study
    lane: Lane = Lane.REST
    rank: int = 0  # the hub's wish: the lower goes first


class Standing(NamedTuple):
    """The lower goes first, and interrupts."""

    urgency: Priority
    lane: Lane
    rank: int


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for every candidate now."""

    may_go: Collection[Priority] = frozenset(Priority)
    aged_before: int = 0  # Unix ms; a routine study that came before it counts as urgent
    pays: bool = False  # enough is owed to what waits behind (`Debt`)
    ahead: int = 4  # parcels that may be opened at the hub before their turn


class OnLine(msgspec.Struct, frozen=True, kw_only=True):
    """The parcel that is being streamed, as it is now; it is not among the candidates."""

    candidate: Candidate
    trickles: bool = False  # it is there to be paid what is owed


class Plan(NamedTuple):
    """What to do now."""

    give_way: bool = False  # end the transfer that is on the line
    stream: int | None = None  # put this parcel on the line
    trickles: bool = False  # it goes to pay what is owed
    prepare: tuple[int, ...] = ()  # open these at the hub, so that the line never waits for a round trip
    behind: bool = False  # something waits behind the front


def lane_of(offset: int, preview_bytes: int) -> Lane:
    """The lane of a parcel of which the hub has `offset` bytes, and whose first `preview_bytes` are a preview."""
    return Lane.PREVIEW if offset < preview_bytes else Lane.REST


def standing(candidate: Candidate, aged_before: int) -> Standing:
    """Where the candidate stands in the line."""
    aged = candidate.priority is Priority.ROUTINE and candidate.first_received_at < aged_before
    return Standing(Priority.URGENT if aged else candidate.priority, candidate.lane, candidate.rank)


def turn(candidate: Candidate, aged_before: int = 0) -> tuple[Standing, int, int, int]:
    """The sort key of the line."""
    return (standing(candidate, aged_before), *_age(candidate))


def _age(candidate: Candidate) -> tuple[int, int, int]:
    return (candidate.first_received_at, candidate.study, candidate.parcel)


def plan(
    candidates: Sequence[Candidate], stages: Mapping[int, Stage], on_line: OnLine | None, conditions: Conditions
) -> Plan:
    """Decides from the candidates (any order), and how far each is with the hub."""
    aged = conditions.aged_before
    line = sorted((c for c in candidates if c.priority in conditions.may_go), key=lambda c: turn(c, aged))
    if on_line is not None and on_line.candidate.priority not in conditions.may_go:
        return _start(line, stages, conditions, give_way=True)
    if on_line is None:
        return _start(line, stages, conditions, give_way=False)
    if not line:
        return Plan()
    if _must_yield(line, stages, on_line, conditions):
        return _start(line, stages, conditions, give_way=True)
    behind = _behind(line, on_line, aged)
    prepare = _to_prepare(line, stages, conditions, behind)
    stat = min(standing(line[0], aged), standing(on_line.candidate, aged)).urgency is Priority.STAT
    if not on_line.trickles and conditions.pays and not stat and _is_ready(behind, stages):
        return Plan(True, behind.parcel, True, prepare, True)  # type: ignore[union-attr]
    return Plan(prepare=prepare, behind=behind is not None)


def _start(line: list[Candidate], stages: Mapping[int, Stage], conditions: Conditions, *, give_way: bool) -> Plan:
    """Puts the first that is ready on a line that is free, or will be when this is done."""
    if not line:
        return Plan(give_way)
    aged, front = conditions.aged_before, standing(line[0], conditions.aged_before)
    behind = _oldest([c for c in line if standing(c, aged) > front])
    prepare = _to_prepare(line, stages, conditions, behind)
    if conditions.pays and front.urgency is not Priority.STAT and _is_ready(behind, stages):
        return Plan(give_way, behind.parcel, True, prepare, True)  # type: ignore[union-attr]
    same = (c.parcel for c in line if standing(c, aged).urgency is front.urgency and _is_ready(c, stages))
    return Plan(give_way, next(same, None), False, prepare, behind is not None)


def _must_yield(line: list[Candidate], stages: Mapping[int, Stage], on_line: OnLine, conditions: Conditions) -> bool:
    """Whether the first of the line is to have it now. What is more urgent has it even before it is ready."""
    aged = conditions.aged_before
    first, has = standing(line[0], aged), standing(on_line.candidate, aged)
    if on_line.trickles:
        return first.urgency is Priority.STAT is not has.urgency or (
            not conditions.pays and _any_ready(line, stages, has, aged)
        )
    return first.urgency < has.urgency or (first < has and _is_ready(line[0], stages))


def _any_ready(line: list[Candidate], stages: Mapping[int, Stage], has: Standing, aged: int) -> bool:
    return any(_is_ready(c, stages) for c in line if standing(c, aged) < has)


def _behind(line: list[Candidate], on_line: OnLine, aged: int) -> Candidate | None:
    """The oldest that stands behind the front, whether that is on the line or first in it."""
    first, has = standing(line[0], aged), standing(on_line.candidate, aged)
    front = first if on_line.trickles else min(first, has)
    return _oldest([c for c in line if standing(c, aged) > front])


def _oldest(candidates: Sequence[Candidate]) -> Candidate | None:
    return min(candidates, key=_age, default=None)


def _to_prepare(
    line: list[Candidate], stages: Mapping[int, Stage], conditions: Conditions, behind: Candidate | None
) -> tuple[int, ...]:
    wanted = [*line[: conditions.ahead], *([behind] if conditions.pays and behind is not None else [])]
    return tuple(dict.fromkeys(c.parcel for c in wanted if c.parcel not in stages))


def _is_ready(candidate: Candidate | None, stages: Mapping[int, Stage]) -> bool:
    return candidate is not None and stages.get(candidate.parcel) is Stage.READY


class Debt(msgspec.Struct, frozen=True):
    """What the line owes to what waits behind its front, in bytes."""

    bytes: float = 0.0
    paying: bool = False

    def after_front(self, count: int, share: float, rate: float) -> Debt:
        """The front had `count` bytes while something waited behind it. `rate`: bytes a second of the line, or 0."""
        at_once = max(_PAY_BYTES_MIN, PAY_SECONDS * rate)
        owed = min(self.bytes + count * share / (1 - share), _DEBT_MAX * at_once)
        return Debt(owed, self.paying or owed >= at_once)

    def after_trickle(self, count: int) -> Debt:
        """What waits behind had `count` bytes."""
        left = max(0.0, self.bytes - count)
        return Debt(left, self.paying and left > 0)
