"""How long a person must wait after wrong PINs or passwords: longer each time, never for ever. Pure.

What failures are counted together is for the caller to say, so that nobody who guesses from elsewhere can lock a
person out at their own computer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

FREE: Final = 3  # wrong tries before the first wait
WINDOW_MS: Final = 3_600_000  # failures older than this are forgotten
LONGEST_MS: Final = 300_000


def wait_ms(failures: Sequence[int], now: int, free: int = FREE, longest_ms: int = LONGEST_MS) -> int:
    """Milliseconds until the next try may be made, after failures at these times (Unix ms, any order).

    2, 4, 8 … seconds after failure number `free` and each further one, at most `longest_ms`. Failures that a clock
    which jumped back puts in the future do not count.
    """
    recent = [at for at in failures if now - WINDOW_MS < at <= now]
    if len(recent) < free:
        return 0
    pause = min(longest_ms, 2000 << min(len(recent) - free, 16))
    return max(0, max(recent) + pause - now)
