"""What may use the line now, from the file and the queue: for `forward`, the page, `doctor` and `appliance link`.

The rules are in the file, the pause and what each uplink carried are in the queue; `link.allowance` decides.
"""

from __future__ import annotations

import sqlite3
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from appliance.config import UnitConfig
from appliance.link.allowance import Allowance, Hold, Pause, Reason, Rules, Usage, allow, month_of, rules_of
from appliance.link.pace import Weight
from appliance.named_sql import NamedSql
from appliance.store_forward.actions import Actor, record
from appliance.terminal import moment

_SQL: Final = NamedSql("appliance.store_forward.sql", "link.sql")


class Carried(msgspec.Struct, frozen=True, kw_only=True):
    """What an uplink carried this calendar month, both ways, headers and tunnel counted. In bytes."""

    uplink: str  # its name in the file; empty when it has none
    bytes: int = 0
    stat_bytes: int = 0  # of these, for stat studies
    monthly_bytes: int | None = None  # its budget; None: any


class LinkUse(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of how the line may be used at one time."""

    month: str  # YYYY-MM, of the site's time zone
    uplink: str  # the one in use
    carried: tuple[Carried, ...]
    pause: Pause | None
    allowance: Allowance


def read_use(connection: sqlite3.Connection, config: UnitConfig, rules: Rules, now: int) -> LinkUse:
    """How the line may be used at `now` (Unix ms)."""
    month = month_of(rules.zone, now)
    pause, uplink = _read_pause(connection, now), uplink_in_use(connection, config)
    carried = _read_carried(connection, rules, month)
    used = next((c.bytes for c in carried if c.uplink == uplink), 0)
    allowance = allow(rules, Usage(uplink=uplink, bytes=used), pause, now)
    return LinkUse(month=month, uplink=uplink, carried=carried, pause=pause, allowance=allowance)


def rules_in(config: UnitConfig) -> Rules:
    """The rules of this unit's file."""
    return rules_of(config.link, config.site.timezone)


def uplink_in_use(connection: sqlite3.Connection, config: UnitConfig) -> str:
    """The name of the way to the internet that the tunnel goes by; the first of the file while nobody says which."""
    row = connection.execute(_SQL["uplink"]).fetchone()
    if row is not None:
        return str(row["name"])
    return config.link.uplinks[0].name if config.link.uplinks else ""


def add_usage(connection: sqlite3.Connection, config: UnitConfig, weight: Weight, now: int) -> None:
    """Counts it for the uplink in use. Inside a transaction."""
    values = {
        "uplink": uplink_in_use(connection, config),
        "month": month_of(ZoneInfo(config.site.timezone), now),
        "bytes": weight.bytes,
        "stat_bytes": weight.stat_bytes,
    }
    connection.execute(_SQL["add_usage"], values)


def pause(connection: sqlite3.Connection, by: Actor, at: int, *, until: int | None, stat_too: bool) -> None:
    """Lets nothing but stat go, or nothing at all, until `until` (Unix ms) or until somebody resumes.

    Inside a transaction; it is in the audit trail.
    """
    values = {"at": at, "until": until, "by": by.name, "stat": int(stat_too)}
    connection.execute(_SQL["set_pause"], values)
    what = "everything" if stat_too else "everything but stat"
    record(connection, by, "pause_link", at, detail=what + ("" if until is None else f", for {(until - at) // 1000} s"))


def resume(connection: sqlite3.Connection, by: Actor, at: int) -> bool:
    """Ends a pause; False when there was none. Inside a transaction; it is in the audit trail."""
    if not connection.execute(_SQL["end_pause"]).rowcount:
        return False
    record(connection, by, "resume_link", at)
    return True


def hold_words(hold: Hold, now: int, zone: ZoneInfo) -> str:
    """Why the rest waits, and until when."""
    until = None if hold.until is None else moment(hold.until, now, zone)
    if hold.reason is Reason.PAUSED:
        return f"Paused by {hold.name} until {until or 'somebody resumes it'}"
    if hold.reason is Reason.BUDGET:
        return f"The monthly budget of {hold.name} is {'nothing' if hold.never else 'spent'}" + (
            f"; next at {until}" if until else ""
        )
    return "Outside the hours set for sending" + (f"; next at {until}" if until else "; no hours are set for the rest")


def _read_pause(connection: sqlite3.Connection, now: int) -> Pause | None:
    row = connection.execute(_SQL["control"]).fetchone()
    if row is None or row["paused_at"] is None:
        return None
    until = row["paused_until"]
    if until is not None and now >= until:
        return None
    return Pause(at=row["paused_at"], by=row["paused_by"], until=until, stat_too=bool(row["pauses_stat"]))


def _read_carried(connection: sqlite3.Connection, rules: Rules, month: str) -> tuple[Carried, ...]:
    """Every uplink of the file, and any other that carried something this month."""
    rows = {row["uplink"]: row for row in connection.execute(_SQL["usage"], {"month": month})}
    names = dict.fromkeys([*(budget.uplink for budget in rules.budgets), *rows])
    return tuple(
        Carried(
            uplink=name,
            bytes=rows[name]["bytes"] if name in rows else 0,
            stat_bytes=rows[name]["stat_bytes"] if name in rows else 0,
            monthly_bytes=rules.budget(name).monthly,
        )
        for name in names
    )
