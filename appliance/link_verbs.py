"""`appliance link …`: how the line of this unit may be used now, and the pause."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import click
import msgspec

from appliance import clock
from appliance.audit.person import person
from appliance.config import UnitConfig, load_unit
from appliance.errors import NotFoundError, UsageError
from appliance.link.allowance import Hold, never
from appliance.model.priority import Priority
from appliance.store_forward import link_use
from appliance.store_forward.actions import Actor
from appliance.store_forward.database import FILE_NAME, open_database, transaction
from appliance.store_forward.link_use import Carried, LinkUse
from appliance.terminal import size

_UNITS: Final = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}
_LONGEST_MS: Final = 366 * _UNITS["d"]
_as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object; docs/reference/cli.md.")
_by = click.option("--by", "name", metavar="NAME", help="Who asks for it, as the page shows it; else the user's name.")


@click.group()
def link() -> None:
    """How the line may be used: show, pause, resume."""


@link.command()
@_as_json
@click.pass_obj
def show(config_path: Path, as_json: bool) -> None:
    """Print what may go now, what holds the rest and until when, and what each uplink carried this month."""
    config, now = load_unit(config_path), clock.now_ms()
    rules = link_use.rules_in(config)
    with _queue(config, read_only=True) as connection:
        use = link_use.read_use(connection, config, rules, now)
    if as_json:
        click.echo(msgspec.json.encode(_facts(use, never(rules), now)).decode())
        return
    for line in _lines(use, never(rules), now, ZoneInfo(config.site.timezone)):
        click.echo(line)


@link.command()
@click.option("--for", "span", metavar="TIME", help="How long, e.g. 30m, 2h, 1d; without it until somebody resumes.")
@click.option("--all", "stat_too", is_flag=True, help="Stat studies wait too.")
@_by
@_as_json
@click.pass_obj
def pause(config_path: Path, span: str | None, stat_too: bool, name: str | None, as_json: bool) -> None:
    """Let nothing but stat studies go, for a while or until `appliance link resume`."""
    config, now = load_unit(config_path), clock.now_ms()
    until = None if span is None else now + _milliseconds(span)
    with _queue(config) as connection, transaction(connection):
        link_use.pause(connection, _actor(name), now, until=until, stat_too=stat_too)
    _tell(config, now, as_json=as_json)


@link.command()
@_by
@_as_json
@click.pass_obj
def resume(config_path: Path, name: str | None, as_json: bool) -> None:
    """End a pause."""
    config, now = load_unit(config_path), clock.now_ms()
    with _queue(config) as connection, transaction(connection):
        link_use.resume(connection, _actor(name), now)
    _tell(config, now, as_json=as_json)


def _tell(config: UnitConfig, now: int, *, as_json: bool) -> None:
    rules = link_use.rules_in(config)
    with _queue(config, read_only=True) as connection:
        use = link_use.read_use(connection, config, rules, now)
    if as_json:
        click.echo(msgspec.json.encode(_facts(use, never(rules), now)).decode())
    else:
        click.echo(_first_line(use, now, ZoneInfo(config.site.timezone)), err=True)


@contextmanager
def _queue(config: UnitConfig, *, read_only: bool = False) -> Iterator[sqlite3.Connection]:
    if not (config.data / FILE_NAME).exists():
        raise NotFoundError(
            f"This unit has not run yet: {config.data} holds no database", hint="Start it: `appliance run`"
        )
    with closing(open_database(config.data, read_only=read_only)) as connection:
        yield connection


def _actor(name: str | None) -> Actor:
    return Actor(name=(name or person())[:40], role="shell")


def _milliseconds(text: str) -> int:
    found = re.fullmatch(r"(\d{1,6})([mhd])", text)
    if not found or not 0 < int(found[1]) * _UNITS[found[2]] <= _LONGEST_MS:
        raise UsageError(f"--for {text}: give minutes, hours or days, up to a year", hint="For instance: --for 2h")
    return int(found[1]) * _UNITS[found[2]]


def _facts(use: LinkUse, shut: dict[Priority, Hold], now: int) -> dict[str, Any]:
    """The documented contract of `--json`."""
    allowance = use.allowance
    return {
        "at": now,
        "cap_bytes_per_second": allowance.rate,
        "may_go": [priority.word for priority in sorted(allowance.may_go)],
        "holds": [{"priority": p.word, **msgspec.structs.asdict(h)} for p, h in sorted(allowance.holds.items())],
        "never": [{"priority": p.word, "reason": h.reason} for p, h in sorted(shut.items())],
        "changes_at": allowance.changes_at,
        "pause": use.pause,
        "month": use.month,
        "uplink": use.uplink,
        "carried": use.carried,
    }


def _lines(use: LinkUse, shut: dict[Priority, Hold], now: int, zone: ZoneInfo) -> list[str]:
    cap = f"{use.allowance.rate / 125:.0f} kbit/s" if use.allowance.rate else "none"
    lines = [_first_line(use, now, zone), f"cap       {cap}"]
    lines += [f"uplink    {_carried_words(c, in_use=c.uplink == use.uplink)}" for c in use.carried]
    words = ", ".join(priority.word for priority in sorted(shut))
    if shut:
        lines.append(click.style(f"attention the rules in the file never let go: {words}", fg="yellow"))
    return lines


def _first_line(use: LinkUse, now: int, zone: ZoneInfo) -> str:
    hold = use.allowance.hold
    if hold is None:
        return "goes      everything"
    going = ", ".join(priority.word for priority in sorted(use.allowance.may_go)) or "nothing"
    return f"goes      {going}. {link_use.hold_words(hold, now, zone)}"


def _carried_words(carried: Carried, *, in_use: bool) -> str:
    of = "" if carried.monthly_bytes is None else f" of {size(carried.monthly_bytes)}"
    stat = f", {size(carried.stat_bytes)} for stat studies" if carried.stat_bytes else ""
    used = ", in use" if in_use else ""
    return f"{carried.uplink or 'without a name'}: {size(carried.bytes)}{of} this month{stat}{used}"
