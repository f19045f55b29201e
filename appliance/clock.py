"""The one place that asks the machine what time it is. Everything else is told."""

from __future__ import annotations

import time


def now_ms() -> int:
    """Unix time in milliseconds, UTC. It may jump either way: order rows by id, and measure spans with `monotonic`."""
    return time.time_ns() // 1_000_000
