"""Which parcels go onto a stick when not all of them fit. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from appliance.courier.cipher import sealed_bytes_max
from appliance.model.priority import Priority

LIST_ENTRY_BYTES = 200  # of a parcel in the list; twice, since the old list is there until the new one is whole
STUDY_BYTES = 2048


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """A parcel that waits at the unit."""

    parcel: str  # its digest, 64 hex digits
    bytes: int
    path: Path
    study: str  # Study Instance UID
    priority: Priority


class Fit(NamedTuple):
    """What to do with each parcel that waits."""

    there: tuple[Item, ...]  # on the stick already
    take: tuple[Item, ...]
    leave: tuple[Item, ...]  # no room


def file_cost(size: int, block: int) -> int:
    """Bytes that a file of at most `size` takes up, with its name; `block` is the file system's unit of space."""
    return -(-size // block) * block + 512


def list_cost(parcels: int, studies: int, block: int) -> int:
    """Bytes to keep free for the list, the old and the new."""
    return 2 * file_cost(4096 + parcels * LIST_ENTRY_BYTES + studies * STUDY_BYTES, block)


def fit(items: Sequence[Item], there: Collection[str], *, room: int, block: int, most: int | None, files: int) -> Fit:
    """Decides in the order of `items`, which is that of the line. One that does not fit is passed over, so that a small
    one behind it may still go.

    `room`: free bytes of the stick. `most`: parcel bytes that may be on it in all, or None. `files`: how many may be.
    """
    studies = len({item.study for item in items})
    room -= list_cost(min(len(items) + len(there), files), studies, block)
    kept = [item for item in items if item.parcel in there]
    left = (1 << 62) if most is None else most - sum(item.bytes for item in kept)
    count = files - len(there)
    take, leave = [], []
    for item in items:
        if item.parcel in there:
            continue
        cost = file_cost(sealed_bytes_max(item.bytes), block)
        if cost > room or item.bytes > left or count < 1:
            leave.append(item)
            continue
        room, left, count = room - cost, left - item.bytes, count - 1
        take.append(item)
    return Fit(tuple(kept), tuple(take), tuple(leave))
