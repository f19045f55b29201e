"""Files that are there and can't be read now: what they hold waits, and people are told why.

Only a file that is gone, or is no file, is given up: a parcel is packed anew, an instance goes to a person. To do that
for one that a failing cable, a wrong owner or too many open files keep from us would pack a whole queue again for
nothing, or ask for studies to be sent again that are all here, and hide what is wrong.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from typing import Final

from appliance.errors import UnreadableFileError
from appliance.logs import get_logger
from appliance.model.retry import Fault, Tries, after_fault

_MANY: Final = 64  # with so many received files that can't be read it is the disk, and no further one is tried
_log = get_logger()


class Unreadable:
    """Which of a kind can't be read now, and why; `kind` is their name in the log. Not for two threads."""

    def __init__(self, kind: str = "parcel") -> None:
        self._kind = kind
        self._reasons: dict[int, str] = {}

    def note(self, number: int, error: OSError) -> None:
        """It could not be read. Says so if that is new."""
        reason = os.strerror(error.errno or 0)
        if number not in self._reasons:
            fields = {self._kind: number, "error_id": UnreadableFileError.id, "reason": reason}
            _log.error(f"the file of one {self._kind} can't be read", **fields)
        self._reasons[number] = reason

    def forget(self, number: int) -> None:
        """It could be read, or it is no longer to be."""
        self._reasons.pop(number, None)

    @property
    def reason(self) -> str:
        """Why one of them can't be read, in the system's words; empty when there is none."""
        return next(iter(self._reasons.values()), "")

    def __len__(self) -> int:
        return len(self._reasons)


class Resting:
    """Instances whose received files can't be read now, and when each is tried again. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._unreadable = Unreadable("instance")
        self._waits: dict[int, tuple[Tries, float]] = {}

    def note(self, instance: int, error: OSError, now: float, *, chance: float) -> None:
        """It could not be read: it rests, longer each time and half a minute at most. `chance`: uniform in [0, 1)."""
        tries, _ = self._waits.get(instance, (Tries(), 0.0))
        again = after_fault(tries, Fault.BUSY, chance=chance, seconds_max=0.0)
        self._waits[instance] = (again.tries, now + again.seconds)
        self._unreadable.note(instance, error)

    def forget(self, instances: Iterable[int]) -> None:
        """They could be read, or are no longer to be."""
        for instance in instances:
            self._waits.pop(instance, None)
            self._unreadable.forget(instance)

    def at(self, now: float) -> list[int]:
        """Those whose time has not come."""
        return [instance for instance, (_, until) in self._waits.items() if until > now]

    @property
    def all(self) -> Collection[int]:
        """All that could not be read when they were tried last."""
        return self._waits.keys()

    @property
    def too_many(self) -> bool:
        """So many that none but these is tried: neither memory nor the work of trying grows with the queue."""
        return len(self._waits) >= _MANY

    @property
    def reason(self) -> str:
        """Why one of them can't be read, in the system's words; empty when there is none."""
        return self._unreadable.reason
