"""What needs a person: the list that the page, `appliance status` and `appliance doctor` show.

Only things that somebody can act on are in it. Pure: facts and the time in, a list out, the most pressing first. The
words are the page's; here is which of them are true.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

import msgspec

from appliance.model.status import FILE_UNREADABLE, HUB_BUSY, HUB_FAULT, HUB_REFUSES, LineFacts
from appliance.model.tunnel import TunnelFacts

_MINUTE: Final = 60_000
_HOUR: Final = 60 * _MINUTE
BEAT_SILENT_MS: Final = 30_000  # processes beat every few seconds
LINE_LONG_DOWN_MS: Final = 12 * _HOUR
COURIER_MS: Final = 48 * _HOUR  # the line is down so long: carry the studies
DATABASE_ROOM: Final = 1 << 20  # bytes; with fewer free even a commit may fail, and with it a beat
CLOCK_OFF_MS: Final = 2 * _MINUTE
CLOCK_EARLIEST_MS: Final = 1_767_225_600_000  # 2026-01-01: this software did not exist before
PROCESSES: Final = ("receive", "compress", "forward")


class HelpKind(StrEnum):
    """In order of what presses most."""

    DISK_FULL = "disk-full"
    PROCESS_SILENT = "process-silent"
    TUNNEL = "tunnel"
    FILE_UNREADABLE = "file-unreadable"
    HUB_REFUSES = "hub-refuses"
    HUB_FAULT = "hub-fault"
    HUB_BUSY = "hub-busy"
    QUARANTINED = "quarantined"
    IDENTITY_CONFLICT = "identity-conflict"
    CONFLICT = "conflict"
    UNKNOWN_DEVICE = "unknown-device"
    REFUSED_STORE = "refused-store"
    DISK_LOW = "disk-low"
    CLOCK_IMPLAUSIBLE = "clock-implausible"
    CLOCK_DIFFERS = "clock-differs"
    CLOCK_NOT_SET = "clock-not-set"
    LINE_LONG_DOWN = "line-long-down"


_OF_SENDING: Final = {
    HUB_REFUSES: HelpKind.HUB_REFUSES,
    HUB_FAULT: HelpKind.HUB_FAULT,
    HUB_BUSY: HelpKind.HUB_BUSY,
    FILE_UNREADABLE: HelpKind.FILE_UNREADABLE,
}


class HelpItem(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the list. Which of the fields mean something depends on `kind`."""

    kind: HelpKind
    at: int = 0  # since when, or when last; Unix ms
    count: int = 0  # images, times, or seconds that the clock is off
    row: int = 0  # of the study, device or refused_store it is about
    name: str = ""  # patient, calling AE title, or process: from a peer, so never markup
    address: str = ""
    code: str = ""  # error id of errors.py, or DICOM status in hex


class StudyInNeed(msgspec.Struct, frozen=True, kw_only=True):
    """A study with something that a person must look at."""

    study_id: int
    patient_name: str
    last_received_at: int
    quarantined: int
    conflicts: int
    identity_conflict: int
    conflicts_checked: int
    reason: str = ""  # error id of its first quarantined instance


class UnknownDevice(msgspec.Struct, frozen=True, kw_only=True):
    """A device that called and that nobody has decided about."""

    device_id: int
    calling_ae: str
    address: str
    last_seen: int
    attempts: int


class RefusedStore(msgspec.Struct, frozen=True, kw_only=True):
    """Images that a modality was told we can't take."""

    refused_id: int
    calling_ae: str
    address: str
    last_at: int
    times: int
    status: int  # PS3.4 B.2.3
    error_id: str


class Disk(msgspec.Struct, frozen=True):
    """The file system of the data directory, in bytes."""

    total: int
    free: int
    reserve: int  # nothing is accepted below it

    @property
    def full(self) -> bool:
        """Nothing more is accepted."""
        return self.free < self.reserve

    @property
    def low(self) -> bool:
        """Soon nothing more will be accepted: less than the reserve again, or a twentieth of the disk, is left."""
        return self.free < max(2 * self.reserve, self.reserve + self.total // 20)

    @property
    def takes_nothing(self) -> bool:
        """Not even the database can be written, so that nobody beats: that somebody is silent tells nothing."""
        return self.free < DATABASE_ROOM


class BoxFacts(msgspec.Struct, frozen=True, kw_only=True):
    """All that the list is made from."""

    line: LineFacts
    disk: Disk
    beats: dict[str, int]  # process name → its last beat, Unix ms
    problems: dict[str, str] = {}  # process name → error id of what it waits to pass
    tunnel: TunnelFacts | None = None  # None: none is configured
    studies: Sequence[StudyInNeed] = ()
    devices: Sequence[UnknownDevice] = ()
    refused: Sequence[RefusedStore] = ()


def beats(last: int | None, now: int) -> bool:
    """True while a process is alive. After a clock jump it is right again with the next beat."""
    return last is not None and abs(now - last) <= BEAT_SILENT_MS


def clock_plausible(now: int) -> bool:
    """False when this machine believes in a time before this software was written."""
    return now >= CLOCK_EARLIEST_MS


def help_list(facts: BoxFacts, now: int) -> list[HelpItem]:
    """What needs a person at `now` (Unix ms), the most pressing first."""
    items = [*_of_machine(facts, now), *_of_line(facts.line, now), *_of_tunnel(facts, now)]
    for study in facts.studies:
        items += _of_study(study)
    items += [
        HelpItem(
            kind=HelpKind.UNKNOWN_DEVICE,
            row=d.device_id,
            name=d.calling_ae,
            address=d.address,
            at=d.last_seen,
            count=d.attempts,
        )
        for d in facts.devices
    ]
    items += [_of_refused(refused) for refused in facts.refused]
    order = list(HelpKind)
    return sorted(items, key=lambda item: (order.index(item.kind), -item.at))


def _of_machine(facts: BoxFacts, now: int) -> list[HelpItem]:
    items = [
        HelpItem(kind=HelpKind.PROCESS_SILENT, name=name, at=facts.beats.get(name, 0))
        for name in (*PROCESSES, *(["tunnel"] if facts.tunnel else []))
        if not facts.disk.takes_nothing and not beats(facts.beats.get(name), now)
    ]
    if facts.disk.full:
        items.append(HelpItem(kind=HelpKind.DISK_FULL))
    elif facts.disk.low:
        items.append(HelpItem(kind=HelpKind.DISK_LOW))
    if FILE_UNREADABLE in facts.problems.values() and facts.line.problem != FILE_UNREADABLE:  # else `_of_line` has it
        items.append(HelpItem(kind=HelpKind.FILE_UNREADABLE, code=FILE_UNREADABLE))
    if not clock_plausible(now):
        items.append(HelpItem(kind=HelpKind.CLOCK_IMPLAUSIBLE))
    return items


def _of_line(line: LineFacts, now: int) -> list[HelpItem]:
    items = []
    if line.problem in _OF_SENDING:
        items.append(HelpItem(kind=_OF_SENDING[line.problem], code=line.problem))
    elif not line.up and line.since is not None and now - line.since > LINE_LONG_DOWN_MS:
        items.append(HelpItem(kind=HelpKind.LINE_LONG_DOWN, at=line.since))
    offset = line.clock_offset_ms
    if offset is not None and abs(offset) > CLOCK_OFF_MS and clock_plausible(now):
        items.append(HelpItem(kind=HelpKind.CLOCK_DIFFERS, count=abs(offset) // 1000))
    return items


def _of_tunnel(facts: BoxFacts, now: int) -> list[HelpItem]:
    tunnel = facts.tunnel
    if tunnel is None:
        return []
    items = []
    if tunnel.needs_person(now):
        items.append(HelpItem(kind=HelpKind.TUNNEL, code=tunnel.problem, at=tunnel.since or 0))
    if not tunnel.clock_set and facts.line.clock_offset_ms is None and clock_plausible(now):
        items.append(HelpItem(kind=HelpKind.CLOCK_NOT_SET))
    return items


def _of_study(study: StudyInNeed) -> list[HelpItem]:
    def item(kind: HelpKind, count: int, code: str = "") -> HelpItem:
        return HelpItem(
            kind=kind, row=study.study_id, name=study.patient_name, at=study.last_received_at, count=count, code=code
        )

    items = []
    if study.quarantined:
        items.append(item(HelpKind.QUARANTINED, study.quarantined, study.reason))
    if study.conflicts + study.identity_conflict > study.conflicts_checked:
        if study.identity_conflict:
            items.append(item(HelpKind.IDENTITY_CONFLICT, study.identity_conflict))
        if study.conflicts:
            items.append(item(HelpKind.CONFLICT, study.conflicts))
    return items


def _of_refused(refused: RefusedStore) -> HelpItem:
    return HelpItem(
        kind=HelpKind.REFUSED_STORE,
        row=refused.refused_id,
        name=refused.calling_ae,
        address=refused.address,
        at=refused.last_at,
        count=refused.times,
        code=refused.error_id or f"{refused.status:04X}",
    )
