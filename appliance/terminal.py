"""How facts look in a terminal: sizes, spans of time, tables. Values in, text out; nothing wider than it must be."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def size(count: float) -> str:
    """A number of bytes as people say it, decimal units: `512 B`, `3.4 MB`, `120 GB`."""
    unit = 0
    while abs(count) >= 999.5 and unit < len(_UNITS) - 1:
        count /= 1000
        unit += 1
    return f"{count:.1f} {_UNITS[unit]}" if unit and abs(count) < 9.95 else f"{count:.0f} {_UNITS[unit]}"


def span(seconds: float) -> str:
    """A span of time, rounded to what matters: `8 s`, `4 min`, `2 h 05 min`, `3 days`."""
    seconds = max(0.0, seconds)
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    if minutes < 36 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{round(minutes / 1440)} days"


def moment(at: int, now: int, zone: tzinfo = UTC) -> str:
    """A time (Unix ms) in the site's zone: `14:05` when it is today, else `Mon 14:05`, else the date."""
    then, today = (datetime.fromtimestamp(ms / 1000, zone) for ms in (at, now))
    if then.date() == today.date():
        return f"{then:%H:%M}"
    return f"{then:%a %H:%M}" if abs((today - then).days) < 6 else f"{then:%Y-%m-%d %H:%M}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, right: frozenset[int] = frozenset()) -> str:
    """A plain table: a line of heads, a rule, a line for each row. `right`: columns that are flush right."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        padded = (
            cell.rjust(width) if number in right else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return "  ".join(padded).rstrip()

    return "\n".join([line(head), "  ".join("─" * width for width in widths), *(line(row) for row in rows)])


def bar(share: float, width: int = 24) -> str:
    """A progress bar: `██████░░░░`; `share` from 0 to 1."""
    full = round(max(0.0, min(1.0, share)) * width)
    return "█" * full + "░" * (width - full)
