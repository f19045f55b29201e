"""How long a person must wait after wrong PINs: longer each time, never for ever. Pure.

Failures count by address, and by name from addresses where that person has not logged in before. So guessing a name
from a hundred addresses is slow, and yet nobody who guesses from elsewhere can lock a radiographer out at the ward's
own computer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

FREE: Final = 3  # wrong PINs before the first wait
WINDOW_MS: Final = 3_600_000  # failures older than this are forgotten
_LONGEST_MS: Final = 300_000


def wait_ms(failures: Sequence[int], now: int) -> int:
    """Milliseconds until the next try may be made, after failures at these times (Unix ms, any order).

    2, 4, 8 … seconds after the third failure and each further one, at most 5 minutes. Failures that a clock which
    jumped back puts in the future do not count.
    """
    recent = [at for at in failures if now - WINDOW_MS < at <= now]
    if len(recent) < FREE:
        return 0
    pause = min(_LONGEST_MS, 2000 << min(len(recent) - FREE, 16))
    return max(0, max(recent) + pause - now)
