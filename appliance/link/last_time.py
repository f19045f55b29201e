"""A clock that never goes backwards over a restart, for boards without a battery.

WireGuard takes a handshake only when its time is after the last one's: a unit that wakes in the past is taken for a
replay, and can't open the tunnel by which it might learn the time. So the time is kept on the disk each minute, and at
boot, before the tunnel starts, the clock is set forward to it; never back. The file is replaced whole, durably.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import time
from pathlib import Path
from typing import Final

from appliance.errors import ClockError

FILE_NAME: Final = "last-time"
KEEP_SECONDS: Final = 60.0
EARLIEST_MS: Final = 1_767_225_600_000  # 2026-01-01
LATEST_MS: Final = 4_102_444_800_000  # 2100-01-01
_SYNCHRONISED: Final = Path("/run/systemd/timesync/synchronized")
_STA_UNSYNC: Final = 0x40  # adjtimex(2)
_LENGTH_MAX: Final = 32


class _Timex(ctypes.Structure):
    """The beginning of the kernel's `struct timex`, and room for the rest."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 512),
    )


def is_set(mark: Path = _SYNCHRONISED) -> bool:
    """Whether this machine's clock was set by NTP since it started.

    The kernel says whether it is kept in step now; after some hours without a server it says no. `mark` is the file of
    systemd-timesyncd that stays from the first time.
    """
    state = _Timex()
    told = ctypes.CDLL(None).adjtimex(ctypes.byref(state))
    return mark.exists() or (told >= 0 and not state.status & _STA_UNSYNC)


def to_keep(kept: int | None, now: int, *, clock_set: bool) -> int:
    """The time to keep, Unix ms: now; but a clock that nobody set does not take back a later time."""
    return now if clock_set or kept is None else max(kept, now)


def read(data: Path) -> int | None:
    """The time that was kept, Unix ms; None when there is none. Raises ClockError when it can't be one."""
    path = data / FILE_NAME
    try:
        with path.open("rb") as file:
            text = file.read(_LENGTH_MAX).strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ClockError(f"{path} can't be read: {error.strerror}") from error
    if not text.isdigit() or not EARLIEST_MS <= int(text) <= LATEST_MS:
        raise ClockError(f"{path} holds no time of this century after 2025", hint=f"Remove it: rm {path}")
    return int(text)


def keep(data: Path, at: int) -> None:
    """Writes the time, Unix ms, so that it survives a power cut. Raises OSError."""
    path = data / FILE_NAME
    part = path.with_suffix(".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor, not a path
        file.write(b"%d\n" % at)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    directory = os.open(data, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def restore(data: Path, now: int) -> int | None:
    """Sets the clock forward to the time that was kept; returns it, or None when the clock is there already.

    `now` in Unix ms. Raises ClockError: nothing usable was kept, or this process may not set the clock.
    """
    kept = read(data)
    if kept is None or kept <= now:
        return None
    try:
        time.clock_settime_ns(time.CLOCK_REALTIME, kept * 1_000_000)
    except PermissionError as error:
        raise ClockError(
            "The clock can't be set by this process: it lacks the right to (CAP_SYS_TIME)",
            hint="Run it as root, before the tunnel starts; a service needs AmbientCapabilities=CAP_SYS_TIME.",
        ) from error
    return kept


class Keeper:
    """Keeps the time each minute. A disk that takes nothing now is no reason to stop."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._next = float("-inf")
        self.kept: int | None = None
        with contextlib.suppress(ClockError):
            self.kept = read(data)

    def turn(self, now: float, now_ms: int, *, clock_set: bool) -> None:
        """`now`: monotonic seconds."""
        if now < self._next:
            return
        self._next = now + KEEP_SECONDS
        at = to_keep(self.kept, now_ms, clock_set=clock_set)
        if not EARLIEST_MS <= at <= LATEST_MS:
            return
        with contextlib.suppress(OSError):
            keep(self._data, at)
            self.kept = at
