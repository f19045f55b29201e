"""What a person sees of a study: derived from stored facts, the line, and the time. Nothing here is stored.

A study is *settled* after a quiet time; only then is "all of it" a number. Its size on the wire is known when it is
settled and every instance is packed; before that there is no percent and no estimate.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

import msgspec

from appliance.model.priority import Priority

HUB_REFUSES: Final = "E502"  # errors.HubRefusedError
HUB_BUSY: Final = "E503"  # errors.HubBusyError
HUB_FAULT: Final = "E504"  # errors.HubFaultError
FILE_UNREADABLE: Final = "E206"  # errors.UnreadableFileError
_NOTHING_GOES: Final = frozenset({HUB_REFUSES, HUB_BUSY, HUB_FAULT})


class StudyState(StrEnum):
    HERE = "here"  # safe on this box; still arriving, or not packed yet
    WAITING = "waiting"  # for the line, or for studies that go first
    ON_ITS_WAY = "on-its-way"
    AT_HUB = "at-hub"  # every instance has the hub's receipt
    NEEDS_HELP = "needs-help"


class Ahead(msgspec.Struct, frozen=True):
    """What goes over the line before a study."""

    studies: int = 0
    bytes: int = 0  # on the wire, still to go
    known: bool = True  # False: some of it is not packed yet, so that `bytes` is too few


class StudyFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The counters of one study. `instances` is the sum of the four that follow it."""

    priority: Priority = Priority.ROUTINE
    instances: int
    received: int = 0  # not packed yet
    packed: int = 0
    delivered: int = 0
    quarantined: int = 0
    unchecked_conflicts: int = 0  # conflicts that no person has looked at
    last_received_at: int  # Unix ms
    settle_ms: int
    wire_bytes: int = 0  # the parcels that hold its instances
    wire_done: int = 0  # of these, bytes that the hub said are durable
    ahead: Ahead = Ahead()
    kept_here: bool = False  # the hub has enough: what it lacks stays until it asks


class LineFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The line as the forward process measured it."""

    up: bool = False
    since: int | None = None  # of this state; Unix ms
    rate: float = 0.0  # bytes a second; 0: not measured yet
    rate_spread: float = 0.25  # its relative deviation
    hub_seen_at: int | None = None  # None: never
    hub_name: str = ""
    clock_offset_ms: int | None = None  # the hub's clock minus ours
    problem: str = ""  # an error id of errors.py
    expected: tuple[tuple[float, float, float], ...] = ()  # bytes, carried within so many and so many seconds; rising
    sender_beats: bool = True  # the forward process is alive; if not, the rest is what it knew last

    held: frozenset[Priority] = frozenset()  # a rule or a pause holds these back now

    @property
    def carries(self) -> bool:
        """Studies go over it now."""
        return self.up and self.sender_beats and self.problem not in _NOTHING_GOES


class StudyStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One study as a person sees it."""

    state: StudyState
    settled: bool
    images: int
    images_at_hub: int
    percent: int | None = None  # of its bytes on the wire; None while their sum is not known
    held: bool = False  # it waits because of a rule or a pause
    kept_here: bool = False  # it waits because the hub has enough of it for now
    bytes_to_go: int | None = None  # with all that goes before it; None while that is not known
    studies_ahead: int = 0


def is_settled(last_received_at: int, settle_ms: int, now: int) -> bool:
    """True after the quiet time. A clock that jumped back must not keep a study open, so the distance counts."""
    return abs(now - last_received_at) >= settle_ms


def derive(study: StudyFacts, line: LineFacts, now: int) -> StudyStatus:
    """The status of one study at `now` (Unix ms)."""
    settled = is_settled(study.last_received_at, study.settle_ms, now)
    whole = settled and study.received == 0 and study.wire_bytes > 0
    state = _state(study, line, settled)
    kept_here = study.kept_here and state in {StudyState.WAITING, StudyState.ON_ITS_WAY}
    state = StudyState.WAITING if kept_here else state
    going = state in {StudyState.WAITING, StudyState.ON_ITS_WAY, StudyState.HERE}
    held = study.priority in line.held and state is StudyState.WAITING
    known = whole and going and study.ahead.known and not held and not kept_here
    return StudyStatus(
        state=state,
        settled=settled,
        images=study.instances,
        images_at_hub=study.delivered,
        percent=_percent(study, settled, whole),
        bytes_to_go=study.ahead.bytes + max(0, study.wire_bytes - study.wire_done) if known else None,
        studies_ahead=study.ahead.studies if state is StudyState.WAITING else 0,
        held=held,
        kept_here=kept_here,
    )


def _state(study: StudyFacts, line: LineFacts, settled: bool) -> StudyState:
    if study.quarantined or study.unchecked_conflicts:
        return StudyState.NEEDS_HELP
    if settled and study.instances and study.delivered == study.instances:
        return StudyState.AT_HUB
    started = study.wire_done > 0 or study.delivered > 0
    carries = line.carries and study.priority not in line.held
    if not started and not (settled and study.packed):
        return StudyState.WAITING if settled and not carries else StudyState.HERE
    if not carries or study.ahead.studies:
        return StudyState.WAITING if study.delivered < study.instances else StudyState.HERE
    return StudyState.ON_ITS_WAY


def _percent(study: StudyFacts, settled: bool, whole: bool) -> int | None:
    """Rounded down; 100 only with the last receipt, because until then the hub has not verified it."""
    if settled and study.instances and study.delivered == study.instances:
        return 100
    if not whole:
        return None
    return min(99, 100 * study.wire_done // study.wire_bytes)


class Going(msgspec.Struct, frozen=True, kw_only=True):
    """A study with packed bytes that the hub lacks."""

    study_id: int
    priority: Priority
    first_received_at: int
    bytes_left: int
    unpacked: bool  # some of its instances are not packed yet


def line_up(going: Sequence[Going], first_unpacked: Priority | None) -> dict[int, Ahead]:
    """What goes before each study: by priority, then the study that came first.

    `first_unpacked` is the most pressing priority among studies with instances that are not packed.
    """
    found: dict[int, Ahead] = {}
    total, known = 0, True
    for place, study in enumerate(sorted(going, key=lambda g: (g.priority, g.first_received_at, g.study_id))):
        overtaken = first_unpacked is not None and first_unpacked < study.priority
        found[study.study_id] = Ahead(place, total, known and not overtaken)
        total += study.bytes_left
        known = known and not study.unpacked
    return found


class BoxSentence(StrEnum):
    """The first thing on the page: one sentence for the whole box."""

    NOTHING_YET = "nothing-yet"
    ALL_AT_HUB = "all-at-hub"
    SOME_NEED_HELP = "some-need-help"
    ON_THEIR_WAY = "on-their-way"
    HELD = "held"
    LINE_DOWN = "line-down"
    LINE_DOWN_NOTHING_WAITS = "line-down-nothing-waits"
    NEVER_CONNECTED = "never-connected"
    HUB_REFUSES = "hub-refuses"
    HUB_BUSY = "hub-busy"
    HUB_FAULT = "hub-fault"
    SENDER_STOPPED = "sender-stopped"


class BoxCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Studies on this box."""

    today: int = 0  # with an image that came today
    today_at_hub: int = 0
    under_way: int = 0  # of any day: not all at the hub, and going by themselves


def box_sentence(counts: BoxCounts, line: LineFacts) -> BoxSentence:
    """Which sentence is true now, the one that worries most first."""
    everything_today = counts.today_at_hub == counts.today
    sentences = (
        (not line.sender_beats, BoxSentence.SENDER_STOPPED),
        (line.problem == HUB_REFUSES, BoxSentence.HUB_REFUSES),
        (line.problem == HUB_BUSY, BoxSentence.HUB_BUSY),
        (line.problem == HUB_FAULT, BoxSentence.HUB_FAULT),
        (not line.up and line.hub_seen_at is None, BoxSentence.NEVER_CONNECTED),
        (not line.up and counts.under_way > 0, BoxSentence.LINE_DOWN),
        (not line.up, BoxSentence.LINE_DOWN_NOTHING_WAITS),
        (counts.under_way > 0 and Priority.ROUTINE in line.held, BoxSentence.HELD),
        (counts.under_way > 0, BoxSentence.ON_THEIR_WAY),
        (not everything_today, BoxSentence.SOME_NEED_HELP),
        (counts.today > 0, BoxSentence.ALL_AT_HUB),
    )
    return next((sentence for true, sentence in sentences if true), BoxSentence.NOTHING_YET)
