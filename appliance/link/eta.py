"""When it will be there: a range in seconds, from the bytes that go first and what is expected of the line. Pure.

None until both are known: an invented estimate is worse than none. Rounding for people is the page's affair.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from typing import Final, NamedTuple

_SPREAD_MIN: Final = 0.1
_SPREAD_MAX: Final = 0.6
_VERIFY_SECONDS: Final = 2.0  # until the hub has checked and answered
_LONGEST: Final = 30 * 86400.0


class Eta(NamedTuple):
    """Seconds from now until the hub has verified it: not before `soonest`, likely before `latest`."""

    soonest: float
    latest: float


class Point(NamedTuple):
    """So many bytes are expected to be carried between `soonest` and `latest` seconds from now (`link.forecast`)."""

    bytes: float
    soonest: float
    latest: float


def estimate(bytes_to_go: int | None, rate: float, spread: float = 0.25, expected: Sequence[Point] = ()) -> Eta | None:
    """The range for something with `bytes_to_go` until its last byte is sent, all that goes before it counted.

    From the `expected` points (rising), which hold in four cases of five, when they reach so far. Else, on a line of
    which too little is known, from `rate` in bytes a second, 0 when not known, and `spread`, its relative deviation
    (`Rate.spread`). None when neither is known, or when it would be more than thirty days.
    """
    if bytes_to_go is None or bytes_to_go < 0:
        return None
    if expected and bytes_to_go <= expected[-1].bytes:
        return _between(expected, bytes_to_go)
    if rate <= 0:
        return None
    share = min(max(spread, _SPREAD_MIN), _SPREAD_MAX)
    seconds = bytes_to_go / rate
    if seconds > _LONGEST:
        return None
    return Eta(seconds * (1 - share / 2), seconds * (1 + share) + _VERIFY_SECONDS)


def _between(expected: Sequence[Point], amount: float) -> Eta:
    at = bisect.bisect_left(expected, amount, key=lambda point: point.bytes)
    above = expected[at]
    below = expected[at - 1] if at else Point(0.0, 0.0, 0.0)
    share = (amount - below.bytes) / (above.bytes - below.bytes)
    soonest = below.soonest + (above.soonest - below.soonest) * share
    return Eta(soonest, below.latest + (above.latest - below.latest) * share + _VERIFY_SECONDS)
