"""How the box is, in words: the strip under the first sentence, and the engineer's list of checks."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import msgspec

from appliance.model.help import CLOCK_OFF_MS, PROCESSES, BoxFacts, beats, clock_plausible
from appliance.model.status import HUB_BUSY, HUB_FAULT, HUB_REFUSES
from appliance.webui.help_words import PROCESS_WORDS
from appliance.webui.language import clock_time, duration, moment, percent, size
from appliance.webui.names import clean
from appliance.webui.say import _
from appliance.webui.tunnel_words import state as tunnel_state


class Check(msgspec.Struct, frozen=True):
    """One thing that can be well or not. `tone`: good, wait, bad."""

    name: str
    said: str
    tone: str
    icon: str


def health_strip(box: BoxFacts, now: int) -> list[Check]:
    """Line, tunnel, hub, disk, clock: what a radiographer may be asked about on the telephone."""
    tunnel = [] if box.tunnel is None else [Check(_("Tunnel"), *tunnel_state(box.tunnel, now), "tunnel")]
    return [_line(box, now), *tunnel, _hub(box, now), _disk(box), _clock(box, now)]


def health_checks(box: BoxFacts, processes: Sequence[sqlite3.Row], now: int) -> list[Check]:
    """The strip, and each process of this box."""
    return [*health_strip(box, now), *_processes(box, processes, now)]


def _line(box: BoxFacts, now: int) -> Check:
    line, name = box.line, _("Line")
    if not line.sender_beats:
        return Check(name, _("not known: sending has stopped"), "bad", "line")
    if not line.up:
        said = _("down since %(time)s", time=moment(line.since, now)) if line.since else _("down")
        return Check(name, said, "wait", "line")
    said = _("up, %(rate)s/s", rate=size(int(line.rate))) if line.rate > 0 else _("up")
    return Check(name, said, "good", "line")


def _hub(box: BoxFacts, now: int) -> Check:
    line, name = box.line, _("Hub")
    wrong = {
        HUB_REFUSES: (_("does not accept this box"), "bad"),
        HUB_BUSY: (_("has no room"), "wait"),
        HUB_FAULT: (_("gives wrong answers"), "bad"),
    }
    if line.problem in wrong:
        said, tone = wrong[line.problem]
        return Check(name, said, tone, "hub")
    if line.hub_seen_at is None:
        return Check(name, _("never seen yet"), "wait", "hub")
    seen = _("seen %(time)s", time=moment(line.hub_seen_at, now))
    hub = clean(line.hub_name)
    said = f"{hub}, {seen}" if hub and hub != name else seen
    return Check(name, said, "good" if line.up else "wait", "hub")


def _disk(box: BoxFacts) -> Check:
    disk = box.disk
    free = max(0, disk.free - disk.reserve)
    said = _("%(size)s free (%(percent)s)", size=size(free), percent=percent(100 * free // max(1, disk.total)))
    return Check(_("Disk"), said, "bad" if disk.full else "wait" if disk.low else "good", "disk")


def _clock(box: BoxFacts, now: int) -> Check:
    name, offset = _("Clock"), box.line.clock_offset_ms
    if not clock_plausible(now):
        return Check(name, _("wrong: %(time)s", time=moment(now, now)), "bad", "clock")
    if offset is not None and abs(offset) > CLOCK_OFF_MS:
        return Check(name, _("%(time)s away from the hub's", time=duration(abs(offset) / 1000)), "wait", "clock")
    if box.tunnel and not box.tunnel.clock_set and offset is None:
        return Check(name, _("%(time)s, not set by a time server yet", time=clock_time(now)), "wait", "clock")
    return Check(name, clock_time(now), "good", "clock")


def _processes(box: BoxFacts, rows: Sequence[sqlite3.Row], now: int) -> list[Check]:
    known = {row["name"]: row for row in rows}
    checks = []
    for name in (*PROCESSES, "web", *(["tunnel"] if box.tunnel else [])):
        row = known.get(name)
        alive = row is not None and beats(row["beat_at"], now)
        if row is None:
            said = _("has not started")
        elif alive:
            said = _("running · %(status)s", status=clean(row["status"]))
        else:
            said = _("silent since %(time)s", time=moment(row["beat_at"], now))
        checks.append(Check(str(PROCESS_WORDS[name]), said, "good" if alive else "bad", "process"))
    return checks
