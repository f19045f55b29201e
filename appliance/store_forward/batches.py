"""Which instances are packed next, and whether to wait for more of them. Pure.

A parcel leaves as instances come. Only while other parcels wait for the line anyway is it worth letting one grow: the
headers of a fuller parcel cost less, and nothing arrives later for it. They cost most while the hub has yet to say that
it holds a header of the series: until then each parcel carries one in full.
"""

from __future__ import annotations

from typing import Final

import msgspec

from appliance.model.priority import Priority

QUIET_MS: Final = 700  # a study that got nothing for so long is not being sent to us just now
LINGER_MS_MAX: Final = 10_000
BUSY_LINE_PARCELS: Final = 2  # the one on the line, and one that follows it at once


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """What is packed and not yet at the hub, and whether any of it can go now."""

    parcels: int
    bytes: int
    up: bool = True


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """What of one study waits to be packed. Times in Unix milliseconds."""

    priority: Priority
    last_received_at: int  # of the study
    oldest_received_at: int  # of what waits
    instances: int
    bytes: int  # without the headers, where it is known how long they are
    header_awaited: bool = False  # a parcel has the first header of its series; the hub did not confirm it yet


def may_pack(priority: Priority, line: Line, ahead_bytes: int) -> bool:
    """Whether more may be packed ahead of the line; a stat study always."""
    return priority is Priority.STAT or line.bytes < ahead_bytes


def lingers(waiting: Waiting, line: Line, now: int, *, instances_max: int, bytes_enough: int) -> bool:
    """Whether to wait for more before packing. A clock that jumped ends the wait, whichever way."""
    busy = 1 if waiting.header_awaited else BUSY_LINE_PARCELS
    if waiting.priority is Priority.STAT or line.parcels < busy:
        return False
    if waiting.instances >= instances_max or waiting.bytes >= bytes_enough:
        return False
    streaming = 0 <= now - waiting.last_received_at < QUIET_MS
    return streaming and (not line.up or 0 <= now - waiting.oldest_received_at < LINGER_MS_MAX)
