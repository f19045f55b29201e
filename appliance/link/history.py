"""What is known of this line by hour of day: its rates while it is up, how often it goes down, and for how long. Pure.

A minute is the unit. A minute with something to send gives a rate; any minute that is watched says whether the line
was up. Outages are kept apart from rates, because they last: a line that was down a minute ago is likely down now.
Hours are those of the site's clock: people share a line by their own day, and power cuts keep to a timetable.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

RATES_MAX: Final = 240  # newest minutes of an hour that are remembered: four hours' worth, of at least four days
OUTAGES_MAX: Final = 120
_FADE: Final = 0.5 ** (1 / (14 * 60))  # a minute of an hour weighs half after two weeks of such hours
HOURS: Final = 24

Amount = Annotated[float, Meta(ge=0, le=1e12)]


class Hour(msgspec.Struct, frozen=True):
    """One hour of the day. `rates`: bytes a second of minutes with something to send, oldest first."""

    rates: tuple[Amount, ...] = ()
    up_minutes: Amount = 0.0  # watched while up; fading
    falls: Amount = 0.0  # outages that began in it; fading alike


class Outage(msgspec.Struct, frozen=True):
    """A past outage: the hour of day in which it began, and how long it lasted, in minutes."""

    hour: Annotated[int, Meta(ge=0, lt=HOURS)]
    minutes: Amount


class History(msgspec.Struct, frozen=True, kw_only=True):
    """`down_minutes` is the age of the outage that goes on now, 0 while the line is up."""

    hours: tuple[Hour, ...] = (Hour(),) * HOURS
    outages: tuple[Outage, ...] = ()
    down_minutes: Amount = 0.0
    down_hour: Annotated[int, Meta(ge=0, lt=HOURS)] = 0


def after_minute(history: History, hour: int, *, up: bool, rate: float | None) -> History:
    """The history after one more minute in this hour of day. `rate`: bytes a second; None: nothing was to be sent."""
    if not up:
        fell = history.down_minutes == 0
        changed = _fallen(history.hours, hour) if fell else history.hours
        began = hour if fell else history.down_hour
        return msgspec.structs.replace(history, hours=changed, down_minutes=history.down_minutes + 1, down_hour=began)
    outages = history.outages
    if history.down_minutes:
        outages = (*outages, Outage(history.down_hour, history.down_minutes))[-OUTAGES_MAX:]
    return History(hours=_carried(history.hours, hour, rate), outages=outages)


def _fallen(hours: tuple[Hour, ...], hour: int) -> tuple[Hour, ...]:
    before = hours[hour]
    return _with(hours, hour, Hour(before.rates, before.up_minutes, before.falls + 1))


def _carried(hours: tuple[Hour, ...], hour: int, rate: float | None) -> tuple[Hour, ...]:
    before = hours[hour]
    rates = before.rates if rate is None else (*before.rates, max(0.0, rate))[-RATES_MAX:]
    return _with(hours, hour, Hour(rates, before.up_minutes * _FADE + 1, before.falls * _FADE))


def _with(hours: tuple[Hour, ...], hour: int, changed: Hour) -> tuple[Hour, ...]:
    return (*hours[:hour], changed, *hours[hour + 1 :])


def rates_at(history: History, hour: int, *, enough: int = 20) -> tuple[float, ...]:
    """Rates of this hour of day, and of those around it while it has fewer than `enough`; () when there are none."""
    found = history.hours[hour].rates
    for distance in range(1, HOURS // 2 + 1):
        if len(found) >= enough:
            break
        for other in {(hour - distance) % HOURS, (hour + distance) % HOURS}:
            found += history.hours[other].rates
    return found


def fall_chance(history: History, hour: int) -> float:
    """The chance that a line which is up goes down within a minute of this hour."""
    known = history.hours[hour]
    minutes = sum(each.up_minutes for each in history.hours)
    overall = (sum(each.falls for each in history.hours) + 0.1) / (minutes + 600)
    # Half an hour's worth of what holds on the whole steadies an hour that was hardly seen.
    return min(0.5, (known.falls + 30 * overall) / (known.up_minutes + 30))


def outages_like(history: History, hour: int, longer_than: float, *, enough: int = 4) -> tuple[float, ...]:
    """Lengths, in minutes, of past outages that began about this hour and lasted longer; else of any that did."""
    near = tuple(
        outage.minutes
        for outage in history.outages
        if outage.minutes > longer_than and min((outage.hour - hour) % HOURS, (hour - outage.hour) % HOURS) <= 1
    )
    if len(near) >= enough:
        return near
    return tuple(outage.minutes for outage in history.outages if outage.minutes > longer_than)
