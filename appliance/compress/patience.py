"""How long a worker may take: for one instance, and for a whole parcel that somebody else made."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import Final

from appliance.compress.faults import WorkerLostError
from appliance.compress.process import WorkerProcess

_LARGE: Final = 64 << 20  # the limits are for an instance of this size; a larger one has as many times as much


def parcel_seconds(wall_seconds: float, size: int) -> float:
    """The most wall time that a parcel of `size` bytes may take in all; `wall_seconds` is that of one instance.

    Bytes that came over a line count, and not what the parcel claims to hold: that costs its maker nothing. Nor does
    the number of instances, which has a ceiling and costs little: 4096 small ones take a second.
    """
    return wall_seconds * (1 + size / _LARGE)


@dataclass(frozen=True, slots=True)
class Patience:
    """What a worker may use for one instance, in seconds; and when all of its work must be over."""

    cpu_seconds: float
    wall_seconds: float
    until: float = math.inf  # monotonic

    def for_parcel(self, size: int, now: float) -> Patience:
        """The same for each instance, but no more in all than a parcel of `size` bytes may take from `now` on."""
        return replace(self, until=now + parcel_seconds(self.wall_seconds, size))

    def grant(self, worker: WorkerProcess, size: int, file_bytes: int) -> float:
        """Sets the limits for an instance of `size` bytes; returns the deadline (monotonic). Raises WorkerLostError
        when the time for all is over.
        """
        now = time.monotonic()
        if self.is_over(now):
            raise WorkerLostError("it took too long")
        times = 1 + size // _LARGE
        worker.limit(cpu_seconds=self.cpu_seconds * times, file_bytes=file_bytes)
        return min(self.until, now + self.wall_seconds * times)

    def is_over(self, now: float) -> bool:
        """Whether the time for all is over at `now` (monotonic)."""
        return now >= self.until
