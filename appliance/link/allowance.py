"""How much of the line may be used now, and by which studies. Pure: the time is an argument.

Three rules, the first that holds a study back is the one that is told: a person paused the line; the month's budget of
the uplink is spent; the hours in which it may go are others. Control requests (a few hundred bytes) always go.

Hours are read off the clock on the wall. A window across midnight belongs to the day it opens on. Where clocks go
back, an hour comes twice, and counts twice; where they go forward, it does not come at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from appliance.config import Link, LinkUplink, LinkWindow
from appliance.model.priority import Priority

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY_MINUTES: Final = 24 * 60
_DAYS_SEEN: Final = 9  # a week has every boundary of every window; a clock change may take one away
_MB: Final = 1_000_000
_BYTES_OF_KBIT: Final = 125.0
_EVERY: Final = frozenset(Priority)


class Reason(StrEnum):
    """Why a study may not go."""

    PAUSED = "paused"
    BUDGET = "budget"
    HOURS = "hours"


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """What holds a priority back. `until` in Unix ms; None: until a person does something."""

    reason: Reason
    until: int | None = None
    name: str = ""  # who paused, or the uplink whose budget it is
    never: bool = False  # the rules in the file can never let it go


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """`opens` and `closes` in minutes of the local day."""

    days: frozenset[int]  # 0 is Monday
    opens: int
    closes: int
    rate: float | None  # bytes a second on the uplink
    priorities: frozenset[Priority]

    def holds(self, weekday: int, minute: int) -> bool:
        """Whether it is open on this `weekday` at this `minute` of the day."""
        if self.closes > self.opens:
            return weekday in self.days and self.opens <= minute < self.closes
        return (weekday in self.days and minute >= self.opens) or (
            (weekday - 1) % 7 in self.days and minute < self.closes
        )


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """What an uplink may carry in a calendar month, in bytes; `stat_extra` beyond it. None: any."""

    uplink: str
    monthly: int | None = None
    stat_extra: int | None = None


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What the site's file says."""

    zone: ZoneInfo
    rate: float | None = None
    windows: tuple[Window, ...] = ()
    budgets: tuple[Budget, ...] = ()
    stat_any_time: bool = True

    def budget(self, uplink: str) -> Budget:
        """That of the uplink in use."""
        return next((b for b in self.budgets if b.uplink == uplink), Budget(uplink=uplink))


class Pause(msgspec.Struct, frozen=True, kw_only=True):
    """A person asked for it. Times in Unix ms."""

    at: int
    by: str
    until: int | None = None
    stat_too: bool = False


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """The uplink in use, and what it carried this calendar month of the site's time zone."""

    uplink: str = ""
    bytes: int = 0


class Allowance(msgspec.Struct, frozen=True, kw_only=True):
    """What holds now. A priority may go unless `holds` has it."""

    rate: float | None  # cap in bytes a second on the uplink; None: none
    holds: dict[Priority, Hold]
    changes_at: int | None  # Unix ms: until then it stays as it is, if nobody pauses and no budget ends

    @property
    def may_go(self) -> frozenset[Priority]:
        """The priorities that go now."""
        return _EVERY - self.holds.keys()

    @property
    def hold(self) -> Hold | None:
        """What to tell people: that of the most pressing priority that waits."""
        return self.holds[min(self.holds)] if self.holds else None


def rules_of(link: Link, timezone: str) -> Rules:
    """The rules of a configuration that was read and checked."""
    return Rules(
        zone=ZoneInfo(timezone),
        rate=_rate(link.rate_kbit),
        windows=tuple(map(_window, link.windows)),
        budgets=tuple(map(_budget, link.uplinks)),
        stat_any_time=link.stat_any_time,
    )


def _rate(kbit: int) -> float | None:
    return kbit * _BYTES_OF_KBIT if kbit else None


def _window(window: LinkWindow) -> Window:
    return Window(
        days=frozenset(DAYS.index(word) for word in window.days),
        opens=_minute(window.opens) % _DAY_MINUTES,
        closes=_minute(window.closes),
        rate=_rate(window.rate_kbit),
        priorities=frozenset(Priority.from_word(word) for word in window.priorities),
    )


def _minute(text: str) -> int:
    hour, _, minute = text.partition(":")
    return 60 * int(hour) + int(minute)


def _budget(uplink: LinkUplink) -> Budget:
    monthly, extra = uplink.monthly_mb, uplink.stat_extra_mb
    return Budget(
        uplink=uplink.name,
        monthly=None if monthly is None else monthly * _MB,
        stat_extra=None if extra is None else extra * _MB,
    )


def allow(rules: Rules, usage: Usage, pause: Pause | None, now: int) -> Allowance:
    """What may be used at `now` (Unix ms)."""
    holds = {**_hours(rules, now), **_spent(rules, usage, now), **_paused(pause, now)}
    window = _open_window(rules, now)
    own = window.rate if window else None
    return Allowance(rate=own or rules.rate, holds=holds, changes_at=_changes_at(rules, pause, holds, now))


def never(rules: Rules) -> dict[Priority, Hold]:
    """Priorities that the file never lets go, whatever the time: a person must be told."""
    holds = {p: Hold(reason=Reason.HOURS, never=True) for p in Priority if not _ever_open(rules, p)}
    if rules.budgets and all(_room(b, Priority.ROUTINE, 0) <= 0 for b in rules.budgets):
        shut = Hold(reason=Reason.BUDGET, name=rules.budgets[0].uplink, never=True)
        stat = all(_room(b, Priority.STAT, 0) <= 0 for b in rules.budgets)
        holds |= {p: shut for p in Priority if stat or p is not Priority.STAT}
    return holds


def month_of(zone: ZoneInfo, now: int) -> str:
    """The calendar month that usage at `now` (Unix ms) counts in: YYYY-MM."""
    return _local(zone, now).strftime("%Y-%m")


# The pause


def _paused(pause: Pause | None, now: int) -> dict[Priority, Hold]:
    if pause is None or (pause.until is not None and now >= pause.until):
        return {}
    hold = Hold(reason=Reason.PAUSED, until=pause.until, name=pause.by)
    return {p: hold for p in Priority if pause.stat_too or p is not Priority.STAT}


# Budgets


def _spent(rules: Rules, usage: Usage, now: int) -> dict[Priority, Hold]:
    budget = rules.budget(usage.uplink)
    found = {}
    for priority in Priority:
        if _room(budget, priority, usage.bytes) <= 0:
            never_fits = _room(budget, priority, 0) <= 0
            until = None if never_fits else _next_month(rules.zone, now)
            found[priority] = Hold(reason=Reason.BUDGET, until=until, name=budget.uplink, never=never_fits)
    return found


def _room(budget: Budget, priority: Priority, used: int) -> float:
    """Bytes that the priority may still use."""
    if budget.monthly is None:
        return float("inf")
    if priority is not Priority.STAT:
        return budget.monthly - used
    return float("inf") if budget.stat_extra is None else budget.monthly + budget.stat_extra - used


def _next_month(zone: ZoneInfo, now: int) -> int:
    local = _local(zone, now)
    year, month = (local.year + 1, 1) if local.month == 12 else (local.year, local.month + 1)
    return _instant(datetime(year, month, 1, tzinfo=zone))


# Hours


def _hours(rules: Rules, now: int) -> dict[Priority, Hold]:
    shut = [p for p in Priority if not _is_open(rules, p, now)]
    if not shut:
        return {}
    later = sorted(at for at in _boundaries(rules, now) if at > now)
    found = {}
    for priority in shut:
        until = _first(later, lambda at, p=priority: _is_open(rules, p, at))  # type: ignore[misc]
        found[priority] = Hold(reason=Reason.HOURS, until=until, never=until is None)
    return found


def _open_window(rules: Rules, now: int) -> Window | None:
    """The first window in the file that holds now."""
    local = _local(rules.zone, now)
    minute = 60 * local.hour + local.minute
    return next((window for window in rules.windows if window.holds(local.weekday(), minute)), None)


def _is_open(rules: Rules, priority: Priority, now: int) -> bool:
    if not rules.windows or (priority is Priority.STAT and rules.stat_any_time):
        return True
    window = _open_window(rules, now)
    return window is not None and priority in window.priorities


def _ever_open(rules: Rules, priority: Priority) -> bool:
    """By the clock on the wall, in a week without a clock change."""
    if not rules.windows or (priority is Priority.STAT and rules.stat_any_time):
        return True
    minutes = {0, *(w.opens for w in rules.windows), *(w.closes % _DAY_MINUTES for w in rules.windows)}
    at_some_time = (
        next((w for w in rules.windows if w.holds(day, minute)), None) for day in range(7) for minute in minutes
    )
    return any(window is not None and priority in window.priorities for window in at_some_time)


def _changes_at(rules: Rules, pause: Pause | None, holds: dict[Priority, Hold], now: int) -> int | None:
    """The first time after `now` at which hours, caps, or a hold that has an end change."""

    def state(at: int) -> tuple[object, ...]:
        return (_open_window(rules, at), *(_is_open(rules, p, at) for p in Priority))

    before = state(now)
    times = [hold.until for hold in holds.values() if hold.until is not None]
    if pause is not None and pause.until is not None and pause.until > now:
        times.append(pause.until)
    hours = _first(sorted(at for at in _boundaries(rules, now) if at > now), lambda at: state(at) != before)
    return min([*times, *([] if hours is None else [hours])], default=None)


def _boundaries(rules: Rules, now: int) -> Iterator[int]:
    """Every time near `now` at which a window may open or close, that of a clock change too. Not in order."""
    if not rules.windows:
        return
    minutes = {minute for w in rules.windows for minute in (w.opens, w.closes % _DAY_MINUTES)}
    today = _local(rules.zone, now).date()
    for offset in range(-1, _DAYS_SEEN):
        day = datetime.combine(today + timedelta(days=offset), datetime.min.time())
        for minute in minutes:
            naive = day + timedelta(minutes=minute)
            yield from {_instant(naive.replace(tzinfo=rules.zone, fold=fold)) for fold in (0, 1)}
        yield from _clock_change(rules.zone, day)


def _clock_change(zone: ZoneInfo, day: datetime) -> Iterator[int]:
    """The second at which the clocks of `day` change, in Unix ms; nothing on a day like others."""
    low = _instant(day.replace(tzinfo=zone)) // 1000
    high = _instant((day + timedelta(days=1)).replace(tzinfo=zone)) // 1000
    before = _local(zone, low * 1000).utcoffset()
    if before == _local(zone, high * 1000).utcoffset():
        return
    while high - low > 1:
        middle = (low + high) // 2
        if _local(zone, middle * 1000).utcoffset() == before:
            low = middle
        else:
            high = middle
    yield high * 1000


def _first(times: Iterable[int], true: Callable[[int], bool]) -> int | None:
    return next((at for at in times if true(at)), None)


def _local(zone: ZoneInfo, now: int) -> datetime:
    return datetime.fromtimestamp(now // 1000, UTC).astimezone(zone)


def _instant(local: datetime) -> int:
    return int(local.timestamp()) * 1000
