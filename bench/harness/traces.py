"""Made-up weeks of lines: what each minute could carry. Named, seeded, and unlike each other in what makes them hard.

A trace is bytes a second for each minute from a midnight on; 0 while the line is down.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Final

KIB: Final = 1024.0
DAY: Final = 1440
Trace = list[float]


def _smooth(draw: random.Random, days: int, spread: float, stay: float) -> list[float]:
    """Factors around 1 that wander: the logarithm goes back to 0 slowly. `spread` is its standard deviation."""
    level, found = 0.0, []
    for _ in range(days * DAY):
        level = level * stay + draw.gauss(0, spread * math.sqrt(1 - stay * stay))
        found.append(math.exp(level))
    return found


def _with_outages(trace: Trace, draw: random.Random, *, a_day: float, minutes: Callable[[], float]) -> Trace:
    left = 0.0
    for minute, rate in enumerate(trace):
        if left <= 0 and draw.random() < a_day / DAY:
            left = max(1.0, minutes())
        trace[minute] = 0.0 if left > 0 else rate
        left -= 1
    return trace


def vsat(draw: random.Random, days: int) -> Trace:
    """A satellite line that is busy by day, with a few short outages."""
    busy = [0.6 if 8 <= minute // 60 % 24 < 17 else 1.0 for minute in range(days * DAY)]
    trace = [43 * KIB * share * noise for share, noise in zip(busy, _smooth(draw, days, 0.15, 0.97), strict=True)]
    return _with_outages(trace, draw, a_day=3, minutes=lambda: draw.lognormvariate(2.0, 0.8))


def edge(draw: random.Random, days: int) -> Trace:
    """An old mobile network: slow, uneven, often gone for minutes."""
    trace = [7 * KIB * noise for noise in _smooth(draw, days, 0.5, 0.9)]
    return _with_outages(trace, draw, a_day=12, minutes=lambda: draw.lognormvariate(1.2, 1.0))


def bursty(draw: random.Random, days: int) -> Trace:
    """A mobile network that is either good or bad, for a quarter of an hour at a time."""
    good, trace = True, []
    for noise in _smooth(draw, days, 0.2, 0.8):
        good = good if draw.random() < 1 - 1 / 15 else not good
        trace.append((180 if good else 20) * KIB * noise)
    return _with_outages(trace, draw, a_day=4, minutes=lambda: draw.lognormvariate(1.5, 1.0))


def shared(draw: random.Random, days: int) -> Trace:
    """A line that the whole hospital uses in office hours, except at the weekend."""
    trace = []
    for minute, noise in enumerate(_smooth(draw, days, 0.3, 0.95)):
        office = 8 <= minute // 60 % 24 < 17 and minute // DAY % 7 < 5
        trace.append((25 if office else 100) * KIB * noise)
    return trace


def blackout(draw: random.Random, days: int) -> Trace:
    """The generator is off at night, from about ten to about six."""
    trace = [40 * KIB * noise for noise in _smooth(draw, days, 0.15, 0.97)]
    for day in range(days):
        off = day * DAY + 22 * 60 + round(draw.gauss(0, 20))
        for minute in range(off, min(off + 8 * 60 + round(draw.gauss(0, 25)), len(trace))):
            trace[minute] = 0.0
    return trace


def storms(draw: random.Random, days: int) -> Trace:
    """Good for days, then gone for hours, at times for more than a day."""
    trace = [60 * KIB * noise for noise in _smooth(draw, days, 0.2, 0.98)]
    return _with_outages(trace, draw, a_day=0.7, minutes=lambda: 20 * draw.paretovariate(0.9))


PROFILES: Final[dict[str, Callable[[random.Random, int], Trace]]] = {
    "vsat": vsat,
    "edge": edge,
    "bursty": bursty,
    "shared": shared,
    "blackout": blackout,
    "storms": storms,
}


def trace(name: str, days: int, seed: int) -> Trace:
    """The trace of this name; the same for the same seed."""
    return PROFILES[name](random.Random(f"{name} {seed}"), days)
