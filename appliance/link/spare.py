"""When what could wait for ever may have the line, and how much of it: the lane of the database's replica. Pure.

It has the line only while nothing else wants it, and a little at a time: what the kernel was given is at most what the
line carries in a sixth of a second, so that a study that comes in is behind no more than that.
"""

from __future__ import annotations

from typing import Final

import msgspec

QUIET_SECONDS: Final = 1.0  # between two parcels the line is not free, only at rest
_PORTION_SECONDS: Final = 0.15
_LEAST: Final = 1448
_MOST: Final = 65_536


class Spare(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the line now."""

    is_open: bool  # the hub answers and accepts this unit
    may_go: bool  # no pause, hour or budget holds the lowest priority back
    wanted: bool  # a parcel is on it, or could be
    quiet: float  # seconds since it was last wanted
    rate: float  # bytes a second; 0: not known
    outstanding: int  # bytes of this lane that the other end has not acknowledged


def portion(spare: Spare) -> int:
    """How many bytes may be given to the line now; 0: none."""
    if not spare.is_open or not spare.may_go or spare.wanted or spare.quiet < QUIET_SECONDS:
        return 0
    whole = min(max(int(spare.rate * _PORTION_SECONDS), _LEAST), _MOST)
    return whole if spare.outstanding == 0 else 0
