"""The list of what needs a person: each thing is on it exactly while it is so."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from appliance.model.help import (
    DATABASE_ROOM,
    PROCESSES,
    BoxFacts,
    Disk,
    HelpItem,
    HelpKind,
    RefusedStore,
    StudyInNeed,
    UnknownDevice,
    beats,
    clock_plausible,
    help_list,
)
from appliance.model.status import LineFacts

NOW = 1_795_492_800_000
HOUR = 3_600_000
ROOMY = Disk(total=10**12, free=5 * 10**11, reserve=5 * 10**8)
UP = LineFacts(up=True, since=NOW - HOUR, hub_seen_at=NOW)
ALIVE = dict.fromkeys(PROCESSES, NOW - 1000)


def items(now: int = NOW, **facts: object) -> list[HelpItem]:
    values: dict[str, object] = {"line": UP, "disk": ROOMY, "beats": ALIVE, **facts}
    return help_list(BoxFacts(**values), now)  # type: ignore[arg-type]


def kinds(now: int = NOW, **facts: object) -> list[HelpKind]:
    return [item.kind for item in items(now, **facts)]


def in_need(**facts: int) -> StudyInNeed:
    values = {"quarantined": 0, "conflicts": 0, "identity_conflict": 0, "conflicts_checked": 0, **facts}
    return StudyInNeed(study_id=7, patient_name="BANDA^GRACE", last_received_at=NOW, reason="E403", **values)


def test_a_box_that_is_well_needs_nothing() -> None:
    assert items() == []


def test_a_silent_process_is_named() -> None:
    found = items(beats={**ALIVE, "forward": NOW - 31_000})
    assert [(item.kind, item.name) for item in found] == [(HelpKind.PROCESS_SILENT, "forward")]
    assert len(items(beats={})) == len(PROCESSES)


def test_a_process_counts_as_alive_again_after_a_clock_jump_only_when_it_beats() -> None:
    assert beats(NOW - 30_000, NOW)
    assert not beats(NOW + 31_000, NOW)
    assert not beats(None, NOW)


def test_the_disk_is_full_below_the_reserve_and_low_before_that() -> None:
    reserve = 10**9
    assert kinds(disk=Disk(10**11, reserve - 1, reserve)) == [HelpKind.DISK_FULL]
    assert kinds(disk=Disk(10**11, reserve - 1, reserve), beats={})[0] == HelpKind.DISK_FULL
    assert len(kinds(disk=Disk(10**11, DATABASE_ROOM, reserve), beats={})) == 1 + len(PROCESSES)
    assert kinds(disk=Disk(10**11, 4096, reserve), beats={}) == [HelpKind.DISK_FULL]  # none of them can beat
    assert kinds(disk=Disk(10**11, reserve + 10**9, reserve)) == [HelpKind.DISK_LOW]
    assert kinds(disk=Disk(10**11, reserve + 10**11 // 20, reserve)) == []


def test_a_clock_before_this_software_existed_is_not_plausible() -> None:
    assert HelpKind.CLOCK_IMPLAUSIBLE in kinds(0, beats=dict.fromkeys(PROCESSES, 0))
    assert clock_plausible(NOW)


def test_a_clock_that_differs_from_the_hubs_is_on_the_list() -> None:
    def offset(milliseconds: int) -> list[HelpKind]:
        return kinds(line=LineFacts(up=True, hub_seen_at=NOW, clock_offset_ms=milliseconds))

    assert offset(-120_001) == offset(120_001) == [HelpKind.CLOCK_DIFFERS]
    assert offset(120_000) == []


def test_a_hub_that_refuses_the_secret_is_on_the_list_and_not_as_an_outage() -> None:
    line = LineFacts(up=False, since=NOW - 40 * HOUR, hub_seen_at=NOW, problem="E502")
    assert kinds(line=line) == [HelpKind.HUB_REFUSES]
    assert kinds(line=LineFacts(up=True, hub_seen_at=NOW, problem="E503")) == [HelpKind.HUB_BUSY]
    assert kinds(line=LineFacts(up=True, hub_seen_at=NOW, problem="E206")) == [HelpKind.FILE_UNREADABLE]
    assert kinds(line=LineFacts(up=True, hub_seen_at=NOW, problem="E504")) == [HelpKind.HUB_FAULT]


def test_a_file_that_cannot_be_read_is_on_the_list_once_whoever_says_so() -> None:
    packing = {"compress": "E206"}
    assert kinds(problems=packing) == [HelpKind.FILE_UNREADABLE]
    sending = LineFacts(up=True, hub_seen_at=NOW, problem="E206")
    assert kinds(line=sending, problems=packing) == [HelpKind.FILE_UNREADABLE]
    refused = LineFacts(up=True, hub_seen_at=NOW, problem="E502")
    assert kinds(line=refused, problems=packing) == [HelpKind.FILE_UNREADABLE, HelpKind.HUB_REFUSES]


def test_only_a_long_outage_is_on_the_list() -> None:
    assert kinds(line=LineFacts(up=False, since=NOW - 11 * HOUR)) == []
    assert kinds(line=LineFacts(up=False, since=NOW - 13 * HOUR)) == [HelpKind.LINE_LONG_DOWN]
    assert kinds(line=LineFacts()) == []  # a new box that never had a line: the sentence says so


def test_a_study_is_on_the_list_once_for_each_thing_that_is_wrong_with_it() -> None:
    assert kinds(studies=[in_need(quarantined=2)]) == [HelpKind.QUARANTINED]
    assert kinds(studies=[in_need(conflicts=2)]) == [HelpKind.CONFLICT]
    assert kinds(studies=[in_need(identity_conflict=1)]) == [HelpKind.IDENTITY_CONFLICT]
    assert len(kinds(studies=[in_need(quarantined=1, conflicts=2, identity_conflict=1)])) == 3


def test_a_conflict_that_a_person_looked_at_leaves_the_list_and_a_new_one_comes_back() -> None:
    assert kinds(studies=[in_need(conflicts=2, conflicts_checked=2)]) == []
    assert kinds(studies=[in_need(conflicts=4, conflicts_checked=2)]) == [HelpKind.CONFLICT]


def test_devices_and_refusals_carry_what_a_person_must_know() -> None:
    device = UnknownDevice(device_id=3, calling_ae="CT1", address="192.168.1.20", last_seen=NOW, attempts=4)
    refused = RefusedStore(
        refused_id=9, calling_ae="US1", address="10.0.0.9", last_at=NOW, times=2, status=0xC000, error_id=""
    )
    unknown, denied = items(devices=[device], refused=[refused])
    assert (unknown.kind, unknown.row, unknown.name, unknown.address) == (
        HelpKind.UNKNOWN_DEVICE,
        3,
        "CT1",
        "192.168.1.20",
    )
    assert (denied.kind, denied.row, denied.count, denied.code) == (HelpKind.REFUSED_STORE, 9, 2, "C000")


@given(st.lists(st.sampled_from(["full", "silent", "device", "quarantined", "conflict"]), max_size=5))
def test_the_most_pressing_comes_first(wrong: list[str]) -> None:
    facts: dict[str, object] = {}
    if "full" in wrong:
        facts["disk"] = Disk(10**9, 10**7, 10**8)
    if "silent" in wrong:
        facts["beats"] = {}
    if "device" in wrong:
        facts["devices"] = [UnknownDevice(device_id=1, calling_ae="X", address="a", last_seen=NOW, attempts=1)]
    facts["studies"] = [in_need(quarantined=int("quarantined" in wrong), conflicts=2 * int("conflict" in wrong))]
    order = list(HelpKind)
    places = [order.index(kind) for kind in kinds(**facts)]
    assert places == sorted(places)
    assert len(set(places)) == len(set(wrong))
