"""Which images of a parcel have their first bytes at its front, and how many bytes. Pure.

All that a front holds is sent anyway, only sooner: a preview costs no byte. What it costs is time, of the previews of
the parcels behind it. So it is a share of the parcel at most, and the more images there are the smaller each is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

from appliance.compress.codecs.base import Codec
from appliance.compress.codecs.resolutions import resolutions_of

SIDES: Final = (256, 128, 64)  # pixels of a preview's longer side, the largest that fit the share
SHARE: Final = 0.08  # of the bytes of all blocks
MANY: Final = 4  # images of a parcel beyond which each is of the smallest size

# For each of SIDES the bytes of a payload that hold an image of that size; empty: it has no smaller image in it.
Fronts: TypeAlias = tuple[int, ...]


def fronts_of(codec: Codec, payload: bytes) -> Fronts:
    """What the first bytes of this payload are good for."""
    start = codec.image_at(payload)
    found = None if start is None else resolutions_of(payload[start:])
    if start is None or found is None:
        return ()
    return tuple(start + found.ends[found.within(side)] for side in SIDES)


def choose(fronts: Sequence[Fronts], total: int) -> list[int]:
    """For each block how many of its first bytes go to the front of a parcel whose blocks have `total` bytes.

    Every image the same size, as large as the share allows; else the smallest of every second, fourth, … image.
    """
    images = [block for block, sizes in enumerate(fronts) if sizes]
    room = int(total * SHARE)
    for side in range(len(SIDES)) if len(images) <= MANY else [len(SIDES) - 1]:
        if sum(fronts[block][side] for block in images) <= room:
            return _early(fronts, images, side)
    step = 2
    while step <= len(images):
        some = images[step // 2 :: step]
        if sum(fronts[block][-1] for block in some) <= room:
            return _early(fronts, some, -1)
        step *= 2
    return []


def _early(fronts: Sequence[Fronts], images: Sequence[int], side: int) -> list[int]:
    early = [0] * len(fronts)
    for block in images:
        early[block] = fronts[block][side]
    return early if images else []
