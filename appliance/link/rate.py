"""How fast the line is: bytes a second while sending, from samples, the older the lighter. Pure.

Idle time is no sample: a line that has nothing to do is not slow. The spread says how far the samples lie apart, and
so how wide an honest estimate must be.
"""

from __future__ import annotations

from typing import Final

import msgspec

HALF_LIFE: Final = 20.0  # seconds of sending after which a sample weighs half
_SECONDS_MIN: Final = 0.5  # of sending, before a rate is called known


class Rate(msgspec.Struct, frozen=True):
    """`bytes` sent in `seconds` of sending, and the same of the squared rate; all fading."""

    bytes: float = 0.0
    seconds: float = 0.0
    squares: float = 0.0  # (bytes a second)² × seconds

    @property
    def value(self) -> float:
        """Bytes a second; 0 while it is not known."""
        return self.bytes / self.seconds if self.seconds >= _SECONDS_MIN else 0.0

    @property
    def spread(self) -> float:
        """Standard deviation of the samples as a share of `value`; 0 while it is not known."""
        if self.value <= 0:
            return 0.0
        variance = max(0.0, self.squares / self.seconds - self.value**2)
        return float(variance**0.5 / self.value)


def add(rate: Rate, count: int, seconds: float) -> Rate:
    """The rate after `count` bytes were acknowledged during `seconds` of sending (monotonic clock)."""
    if seconds <= 0 or count < 0:
        return rate
    fade = 0.5 ** (seconds / HALF_LIFE)
    return Rate(
        rate.bytes * fade + count,
        rate.seconds * fade + seconds,
        rate.squares * fade + (count / seconds) ** 2 * seconds,
    )
