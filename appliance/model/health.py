"""How a unit is, as it tells its hub: for the people there who must know before the site calls. No patient data.

The wire form is JSON; docs/protocol.md shows it. Nothing is decided from it.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from appliance.model.receipt import Count, Time

HEALTH_BYTES_MAX: Final = 4096
PROBLEMS_MAX: Final = 32
Word = Annotated[str, Meta(max_length=64)]


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """The body of `PUT /v1/health`. Times are Unix milliseconds by the unit's clock, sizes are bytes."""

    at: Time
    version: Word
    studies_undelivered: Count = 0
    bytes_to_send: Count = 0  # packed; on the wire
    unpacked_bytes: Count = 0  # before packing
    oldest_undelivered_at: Time | None = None
    line_since: Time | None = None
    line_bytes_per_second: Annotated[float, Meta(ge=0, le=1e12)] = 0.0  # while sending; 0: not measured
    round_trip_ms: Annotated[float, Meta(ge=0, le=1e9)] = 0.0
    clock_offset_ms: Annotated[int, Meta(ge=-(1 << 53), le=1 << 53)] | None = None  # the hub's clock minus the unit's
    disk_free: Count = 0
    disk_total: Count = 0
    held: Annotated[tuple[Word, ...], Meta(max_length=4)] = ()  # priorities that a rule or a pause holds back
    problems: Annotated[tuple[Word, ...], Meta(max_length=PROBLEMS_MAX)] = ()  # words of model/help.py


def urgent_part(health: Health) -> tuple[object, ...]:
    """What is told at once when it changes; the rest waits for its minute."""
    return (health.version, health.held, health.problems, health.studies_undelivered > 0)
