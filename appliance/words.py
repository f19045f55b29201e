"""`status` and `doctor` in words, for a person at a terminal. The facts come from `store_forward`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from zoneinfo import ZoneInfo

import click

from appliance.config import UnitConfig
from appliance.errors import error_of
from appliance.store_forward.doctor import Check, Level
from appliance.store_forward.status import Line, Status, processes_of
from appliance.store_forward.tunnel_told import tell
from appliance.terminal import moment, size, span

_MARKS: Final = {Level.OK: ("ok", "green"), Level.WARNING: ("warning", "yellow"), Level.FAILING: ("FAILING", "red")}


def status_lines(facts: Status, config: UnitConfig) -> list[str]:
    """The facts as a few lines, each beginning with what it is about."""
    zone = ZoneInfo(config.site.timezone)
    lines = [
        f"site      {config.site.name} ({facts.site}), appliance {facts.version}",
        f"studies   {facts.studies} in all, {facts.studies_undelivered} not yet whole at the hub",
        f"instances {facts.instances_delivered} verified at the hub, {facts.instances_packed} packed,"
        f" {facts.instances_received} to pack",
        f"to send   {size(facts.bytes_to_send)} packed, and {size(facts.unpacked_bytes)} not packed yet{_eta(facts)}",
    ]
    if facts.oldest_undelivered_at is not None:
        lines.append(f"oldest    waits since {moment(facts.oldest_undelivered_at, facts.at, zone)}")
    lines += [f"line      {_line(facts.line, facts.at)}"]
    if facts.tunnel is not None:
        lines.append(f"tunnel    {tell(facts.tunnel, config, facts.at).said}")
    lines.append(f"disk      {size(facts.disk.free)} free")
    if facts.line and facts.line.held:
        lines.append(f"held      {', '.join(facts.line.held)} wait; `appliance link show` says why and until when")
    alive = {process.name: process for process in facts.processes if process.alive}
    names = processes_of(config)
    lines += [f"{name:<9} {alive[name].status or 'runs' if name in alive else 'does not run'}" for name in names]
    return lines + _needs(facts)


def _eta(facts: Status) -> str:
    """An estimate only when the whole is packed, the line is up, and its rate was measured."""
    line = facts.line
    if not line or not line.up or not line.bytes_per_second or facts.unpacked_bytes or not facts.bytes_to_send:
        return ""
    return f" (about {span(facts.bytes_to_send / line.bytes_per_second)} at the present rate)"


def _line(line: Line | None, now: int) -> str:
    if line is None:
        return "the hub was never reached yet"
    since = span((now - line.since) / 1000)
    if line.up:
        rate = f"{size(line.bytes_per_second)}/s, " if line.bytes_per_second else ""
        return f"up for {since}: {line.hub or 'hub'}, {rate}{line.round_trip_ms:.0f} ms"
    problem = f" ({line.problem}: {error_of(line.problem)().message})" if line.problem else ""
    return f"down for {since}; everything is safe here and goes by itself{problem}"


def _needs(facts: Status) -> list[str]:
    rows = [
        (facts.instances_quarantined, "instances need help; see the page, Needs help"),
        (facts.instances_conflicting, "instances share a UID with other bytes; both are kept"),
        (facts.unknown_devices, "unknown devices asked to send; allow or refuse them on the page"),
        (facts.refused_stores, "kinds of store were refused to a modality; see the page"),
    ]
    return [click.style(f"attention {count} {what}", fg="yellow") for count, what in rows if count]


def check_lines(checks: Sequence[Check], now: int) -> list[str]:
    """A line for each check, what to do below those that are not ok, and a sentence for the whole."""
    lines = []
    for check in checks:
        word, colour = _MARKS[check.level]
        since = f" (since {span((now - check.since) / 1000)})" if check.since is not None else ""
        lines.append(f"{click.style(f'{word:<8}', fg=colour)} {check.name}: {check.said}{since}")
        if check.todo:
            lines.append(f"         → {check.todo}")
    return [*lines, "", _verdict(checks)]


def _verdict(checks: Sequence[Check]) -> str:
    failing = sum(check.level is Level.FAILING for check in checks)
    warnings = sum(check.level is Level.WARNING for check in checks)
    if not failing and not warnings:
        return click.style(f"All {len(checks)} checks are ok.", fg="green")
    return f"Of {len(checks)} checks {failing} fail and {warnings} warn. Do what the arrows say, then run it again."
