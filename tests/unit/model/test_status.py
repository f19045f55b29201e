"""What a person sees of a study, for every combination of facts."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from appliance.model.priority import Priority
from appliance.model.status import (
    Ahead,
    BoxCounts,
    BoxSentence,
    Going,
    LineFacts,
    StudyFacts,
    StudyState,
    box_sentence,
    derive,
    is_settled,
    line_up,
)

NOW = 1_795_492_800_000
SETTLE = 120_000
UP = LineFacts(up=True, since=NOW - 60_000, rate=40_000.0, hub_seen_at=NOW)
DOWN = LineFacts(up=False, since=NOW - 60_000, hub_seen_at=NOW - 60_000)

counts = st.integers(0, 3000)


@st.composite
def studies(draw: st.DrawFn) -> StudyFacts:
    received, packed, delivered, quarantined = (draw(counts) for _ in range(4))
    wire = draw(st.integers(0, 10**10)) if packed + delivered else 0
    return StudyFacts(
        instances=received + packed + delivered + quarantined,
        received=received,
        packed=packed,
        delivered=delivered,
        quarantined=quarantined,
        unchecked_conflicts=draw(st.integers(0, 2)),
        last_received_at=NOW - draw(st.integers(-(10**10), 10**10)),
        settle_ms=draw(st.integers(1, 10**7)),
        wire_bytes=wire,
        wire_done=draw(st.integers(0, wire)),
        ahead=Ahead(draw(st.integers(0, 5)), draw(st.integers(0, 10**10)), draw(st.booleans())),
    )


lines = st.builds(
    LineFacts,
    sender_beats=st.booleans(),
    problem=st.sampled_from(["", "E501", "E502", "E503", "E504"]),
    up=st.booleans(),
    since=st.none() | st.integers(0, NOW),
    rate=st.floats(0, 1e8),
)


def study(**facts: object) -> StudyFacts:
    """A settled study of ten images that were all just received."""
    values: dict[str, object] = {"received": 10, "last_received_at": NOW - SETTLE, "settle_ms": SETTLE, **facts}
    kinds = ("received", "packed", "delivered", "quarantined")
    return StudyFacts(instances=sum(int(values.get(kind, 0)) for kind in kinds), **values)  # type: ignore[arg-type]


def state(line: LineFacts = UP, **facts: object) -> StudyState:
    return derive(study(**facts), line, NOW).state


def test_a_study_that_just_came_is_here() -> None:
    assert state(last_received_at=NOW - 1000) is StudyState.HERE
    assert state() is StudyState.HERE
    assert state(last_received_at=NOW - 1000, received=4, packed=6, wire_bytes=10) is StudyState.HERE


def test_a_settled_study_waits_while_the_line_is_down() -> None:
    assert state(DOWN) is StudyState.WAITING
    assert state(DOWN, received=0, packed=10, wire_bytes=10) is StudyState.WAITING
    assert state(DOWN, received=0, packed=5, delivered=5, wire_bytes=10, wire_done=5) is StudyState.WAITING


def test_a_study_still_arriving_is_here_although_the_line_is_down() -> None:
    assert state(DOWN, last_received_at=NOW - 1000) is StudyState.HERE


def test_a_study_waits_while_others_go_first() -> None:
    ahead = Ahead(studies=2, bytes=100)
    assert state(received=0, packed=10, wire_bytes=10, ahead=ahead) is StudyState.WAITING
    assert derive(study(received=0, packed=10, wire_bytes=10, ahead=ahead), UP, NOW).studies_ahead == 2


def test_the_first_study_in_line_is_on_its_way() -> None:
    status = derive(study(received=0, packed=10, wire_bytes=1000, wire_done=437), UP, NOW)
    assert (status.state, status.percent, status.bytes_to_go) == (StudyState.ON_ITS_WAY, 43, 563)


def test_what_goes_first_counts_in_the_bytes_to_go() -> None:
    status = derive(study(received=0, packed=10, wire_bytes=1000, ahead=Ahead(1, 5000)), UP, NOW)
    assert status.bytes_to_go == 6000


def test_nothing_is_promised_while_bytes_ahead_are_not_known() -> None:
    status = derive(study(received=0, packed=10, wire_bytes=1000, ahead=Ahead(1, 5000, known=False)), UP, NOW)
    assert status.bytes_to_go is None


def test_only_a_whole_study_is_at_the_hub() -> None:
    assert state(received=0, delivered=10) is StudyState.AT_HUB
    assert state(received=0, delivered=9, packed=1, wire_bytes=10, wire_done=9) is StudyState.ON_ITS_WAY
    assert state(received=0, delivered=10, last_received_at=NOW - 1000) is StudyState.ON_ITS_WAY


def test_all_bytes_sent_is_not_yet_all_verified() -> None:
    status = derive(study(received=0, packed=10, wire_bytes=1000, wire_done=1000), UP, NOW)
    assert (status.state, status.percent) == (StudyState.ON_ITS_WAY, 99)


def test_a_conflict_needs_help_until_a_person_looked_at_it() -> None:
    assert state(received=0, delivered=10, unchecked_conflicts=1) is StudyState.NEEDS_HELP
    assert state(received=0, delivered=10, unchecked_conflicts=0) is StudyState.AT_HUB


def test_a_study_waits_while_the_hub_refuses_this_box_or_nothing_sends() -> None:
    for line in (
        LineFacts(up=True, rate=1.0, hub_seen_at=NOW, problem="E502"),
        LineFacts(up=True, rate=1.0, hub_seen_at=NOW, problem="E503"),
        LineFacts(up=True, rate=1.0, hub_seen_at=NOW, problem="E504"),
        LineFacts(up=True, rate=1.0, hub_seen_at=NOW, sender_beats=False),
    ):
        assert state(line, received=0, packed=10, wire_bytes=10) is StudyState.WAITING


@given(studies(), lines)
def test_a_quarantined_instance_always_needs_help(facts: StudyFacts, line: LineFacts) -> None:
    needs = derive(facts, line, NOW).state is StudyState.NEEDS_HELP
    assert needs == bool(facts.quarantined or facts.unchecked_conflicts)


@given(studies(), lines)
def test_at_the_hub_means_settled_and_a_receipt_for_every_instance(facts: StudyFacts, line: LineFacts) -> None:
    status = derive(facts, line, NOW)
    if status.state is StudyState.AT_HUB:
        assert facts.delivered == facts.instances > 0
        assert status.settled
        assert status.percent == 100
    if facts.delivered < facts.instances or not status.settled:
        assert status.percent != 100


@given(studies(), lines)
def test_no_percent_and_no_estimate_before_the_total_is_known(facts: StudyFacts, line: LineFacts) -> None:
    status = derive(facts, line, NOW)
    if facts.received or not status.settled:
        assert status.bytes_to_go is None
        assert status.percent is None
    if status.percent is not None:
        assert 0 <= status.percent <= 100
    if status.bytes_to_go is not None:
        assert status.bytes_to_go >= facts.ahead.bytes


@given(studies(), lines)
def test_nothing_is_on_its_way_on_a_line_that_is_down(facts: StudyFacts, line: LineFacts) -> None:
    status = derive(facts, line, NOW)
    assert status.state is not StudyState.ON_ITS_WAY or line.carries
    assert (status.images, status.images_at_hub) == (facts.instances, facts.delivered)


@given(studies(), lines)
def test_sending_more_never_lowers_the_percent(facts: StudyFacts, line: LineFacts) -> None:
    fully = StudyFacts(**{f: getattr(facts, f) for f in facts.__struct_fields__} | {"wire_done": facts.wire_bytes})
    before, after = derive(facts, line, NOW).percent, derive(fully, line, NOW).percent
    assert (before is None) == (after is None)
    assert before is None or after is None or before <= after


@given(st.integers(0, 2**41), st.integers(1, 10**7), st.integers(0, 2**41))
def test_a_clock_that_jumped_back_far_does_not_keep_a_study_open(last: int, settle_ms: int, now: int) -> None:
    assert is_settled(last, settle_ms, now) == (not -settle_ms < now - last < settle_ms)


going = st.builds(
    Going,
    study_id=st.integers(1, 10**6),
    priority=st.sampled_from(Priority),
    first_received_at=st.integers(0, NOW),
    bytes_left=st.integers(0, 10**9),
    unpacked=st.booleans(),
)


@given(st.lists(going, unique_by=lambda g: g.study_id, max_size=30), st.none() | st.sampled_from(Priority))
def test_what_is_ahead_is_what_goes_before_by_priority_then_arrival(
    listed: list[Going], unpacked: Priority | None
) -> None:
    found = line_up(listed, unpacked)

    def rank(g: Going) -> tuple[int, int, int]:
        return (g.priority, g.first_received_at, g.study_id)

    for one in listed:
        before = [other for other in listed if rank(other) < rank(one)]
        known = not any(o.unpacked for o in before) and (unpacked is None or unpacked >= one.priority)
        assert found[one.study_id] == Ahead(len(before), sum(o.bytes_left for o in before), known)


def test_every_study_that_is_listed_has_a_place_of_its_own() -> None:
    listed = [
        Going(study_id=n, priority=Priority.ROUTINE, first_received_at=7, bytes_left=10, unpacked=False)
        for n in (3, 1, 2)
    ]
    assert [line_up(listed, None)[n].studies for n in (1, 2, 3)] == [0, 1, 2]


def sentence(line: LineFacts, **numbers: int) -> BoxSentence:
    return box_sentence(BoxCounts(**numbers), line)


def test_the_sentence_for_the_box() -> None:
    refused = LineFacts(up=True, hub_seen_at=NOW, problem="E502")
    assert sentence(UP) is BoxSentence.NOTHING_YET
    assert sentence(UP, today=12, today_at_hub=12) is BoxSentence.ALL_AT_HUB
    assert sentence(UP, today=12, today_at_hub=11) is BoxSentence.SOME_NEED_HELP
    assert sentence(UP, today=12, today_at_hub=5, under_way=7) is BoxSentence.ON_THEIR_WAY
    assert sentence(DOWN, under_way=7) is BoxSentence.LINE_DOWN
    assert sentence(DOWN, today=3, today_at_hub=3) is BoxSentence.LINE_DOWN_NOTHING_WAITS
    assert sentence(LineFacts(), under_way=7) is BoxSentence.NEVER_CONNECTED
    assert sentence(refused, under_way=7) is BoxSentence.HUB_REFUSES
    assert sentence(LineFacts(up=True, hub_seen_at=NOW, problem="E503")) is BoxSentence.HUB_BUSY
    assert sentence(LineFacts(up=True, hub_seen_at=NOW, problem="E504")) is BoxSentence.HUB_FAULT
    assert (
        sentence(LineFacts(up=True, hub_seen_at=NOW, sender_beats=False), today=1, today_at_hub=1)
        is BoxSentence.SENDER_STOPPED
    )


def test_all_at_the_hub_is_said_only_when_it_is_true() -> None:
    for today, at_hub, under_way, up in itertools.product((0, 1, 5), (0, 1, 5), (0, 1), (True, False)):
        if at_hub <= today:
            said = sentence(UP if up else DOWN, today=today, today_at_hub=at_hub, under_way=under_way)
            assert (said is BoxSentence.ALL_AT_HUB) == (up and not under_way and today == at_hub > 0)


def test_a_study_of_which_the_hub_has_enough_waits_and_promises_no_time() -> None:
    for facts in ({"wire_done": 0}, {"wire_done": 437}):
        kept = derive(study(received=0, packed=10, wire_bytes=1000, kept_here=True, **facts), UP, NOW)
        assert (kept.state, kept.kept_here, kept.bytes_to_go) == (StudyState.WAITING, True, None)
    assert not derive(study(received=0, packed=10, quarantined=1, wire_bytes=9, kept_here=True), UP, NOW).kept_here
