"""The language of a request, and times and numbers as people at the site read them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from babel import Locale
from babel.dates import format_date, format_skeleton, format_time
from babel.numbers import format_decimal, format_percent
from flask import request
from flask_babel import get_locale

from appliance.webui.catalogue import shipped
from appliance.webui.context import unit
from appliance.webui.say import _

COOKIE: Final = "language"
_WEEK: Final = 6  # days back that a weekday alone names


def select_language() -> str:
    """What the person chose, else what the browser asks for, else the site's language."""
    languages = shipped()
    chosen = request.cookies.get(COOKIE, "")
    if chosen in languages:
        return chosen
    fallback = unit().site.language if unit().site.language in languages else languages[0]
    return request.accept_languages.best_match(languages, fallback) or fallback


def _locale() -> Locale:
    """For dates and numbers: English without a country is the world's, not that of the United States."""
    locale: Locale | None = get_locale()
    if locale is None or str(locale) == "en":
        return Locale.parse("en_001")
    return locale


def direction() -> str:
    """`ltr` or `rtl`, for the `dir` attribute of the page."""
    return _locale().text_direction


def zone() -> ZoneInfo:
    """The site's time zone."""
    return ZoneInfo(unit().site.timezone)


def local(at: int) -> datetime:
    """Unix ms as time at the site. What is outside the calendar becomes its nearest end."""
    earliest, latest = -62_000_000_000, 250_000_000_000
    return datetime.fromtimestamp(min(max(at // 1000, earliest), latest), UTC).astimezone(zone())


def midnight(now: int) -> int:
    """When the site's present day began; Unix ms."""
    return day_bounds(local(now).date())[0]


def day_bounds(day: date) -> tuple[int, int]:
    """Begin and end of a day at the site, Unix ms. Days with a clock change have 23 or 25 hours."""

    def begin(of: date) -> int:
        return int(datetime(of.year, of.month, of.day, tzinfo=zone()).timestamp() * 1000)

    return begin(day), begin(day + timedelta(days=1))


def clock_time(at: int) -> str:
    """`14:05`."""
    return format_time(local(at), "HH:mm", locale=_locale())


def moment(at: int, now: int) -> str:
    """`14:05` today, `Tue 14:05` within a week, else `3 Nov, 14:05`, with the year when it is another."""
    then, today = local(at), local(now).date()
    time = format_time(then, "HH:mm", locale=_locale())
    days = (today - then.date()).days
    if days == 0:
        return time
    if 0 < days <= _WEEK:
        return _("%(weekday)s %(time)s", weekday=format_date(then, "EEE", locale=_locale()), time=time)
    return _("%(day)s, %(time)s", day=_day(then.date(), today), time=time)


def _day(day: date, today: date) -> str:
    return str(format_skeleton("MMMd" if day.year == today.year else "yMMMd", day, locale=_locale()))


def dicom_day(value: str, time: str, now: int) -> str:
    """A DICOM date and time (PS3.5 6.2, DA and TM), as the modality's own clock had it; empty when it is no date."""
    try:
        then = datetime.strptime(value[:8], "%Y%m%d").date()  # noqa: DTZ007 - only its day counts
    except ValueError:
        return ""
    today = local(now).date()
    clock = f"{time[:2]}:{time[2:4]}" if len(time) >= 4 and time[:4].isdigit() else ""
    if then == today and clock:
        return clock
    days = (today - then).days
    name = format_date(then, "EEE", locale=_locale()) if 0 < days <= _WEEK else _day(then, today)
    return f"{name} {clock}".strip()


def birth_day(value: str) -> str:
    """A DICOM date of birth with its year; empty when it is no date."""
    try:
        day = datetime.strptime(value[:8], "%Y%m%d").date()  # noqa: DTZ007 - only its day counts
    except ValueError:
        return ""
    return str(format_skeleton("yMMMd", day, locale=_locale()))


def number(value: float) -> str:
    """A number with the language's separators."""
    return format_decimal(value, locale=_locale())


def percent(value: int) -> str:
    """`43 %` as the language writes it."""
    return format_percent(value / 100, locale=_locale())


def size(count: int) -> str:
    """Bytes for people: `12.4 MB`. Decimal units, as the line's own rate has them."""
    value, units = float(count), (_("B"), _("kB"), _("MB"), _("GB"), _("TB"))
    for unit_name in units:
        if value < 999.5 or unit_name == units[-1]:
            break
        value /= 1000
    text = format_decimal(
        value, "#,##0.#" if 0 < value < 99.95 and unit_name != units[0] else "#,##0", locale=_locale()
    )
    return f"{text}\u00a0{unit_name}"


def duration(seconds: float) -> str:
    """`about`-free rounded span: seconds under a minute, minutes under two hours, hours under two days, days."""
    minutes = seconds / 60
    if minutes < 1:
        return _("%(n)s s", n=number(round(seconds)))
    if minutes < 120:
        return _("%(n)s min", n=number(round(minutes)))
    if minutes < 2880:
        return _("%(n)s h", n=number(round(minutes / 60)))
    return _("%(n)s days", n=number(round(minutes / 1440)))


def current() -> str:
    """The code of this request's language."""
    return str(_locale().language)
