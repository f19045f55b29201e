"""When it will be there: a range in seconds, from the bytes that go first and the measured rate. Pure.

None until both are known: an invented estimate is worse than none. Rounding for people is the page's affair.
"""

from __future__ import annotations

from typing import Final, NamedTuple

_SPREAD_MIN: Final = 0.1
_SPREAD_MAX: Final = 0.6
_VERIFY_SECONDS: Final = 2.0  # until the hub has checked and answered
_LONGEST: Final = 30 * 86400.0


class Eta(NamedTuple):
    """Seconds from now until the hub has verified it: not before `soonest`, likely before `latest`."""

    soonest: float
    latest: float


def estimate(bytes_to_go: int | None, rate: float, spread: float = 0.25) -> Eta | None:
    """The range for something with `bytes_to_go` until its last byte is sent, all that goes before it counted.

    `rate` in bytes a second, 0 when not known; `spread` is its relative deviation (`Rate.spread`). None when either is
    not known, or when it would be more than thirty days.
    """
    if bytes_to_go is None or bytes_to_go < 0 or rate <= 0:
        return None
    share = min(max(spread, _SPREAD_MIN), _SPREAD_MAX)
    seconds = bytes_to_go / rate
    if seconds > _LONGEST:
        return None
    return Eta(seconds * (1 - share / 2), seconds * (1 + share) + _VERIFY_SECONDS)
