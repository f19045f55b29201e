"""Breaks bytes in the ways that broken programs and hostile people break them; the same generator, the same damage."""

from __future__ import annotations

import random
from typing import Final

_EXTREMES: Final = (
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\x00\x00\x00\x00",
    b"\xff\xff",
    b"\x00\x00",
    b"\xfe\xff",
)


def mutate(data: bytes, draw: random.Random) -> bytes:
    """`data` with one to eight damages."""
    broken = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 3, 8))):
        _damage(broken, draw)
    return bytes(broken)


def _damage(broken: bytearray, draw: random.Random) -> None:
    at = draw.randrange(len(broken) + 1)
    length = draw.choice((1, 2, 4, 16, 200))
    match draw.choice(("flip", "extreme", "cut", "remove", "repeat", "insert")):
        case "flip":
            if at < len(broken):
                broken[at] ^= 1 << draw.randrange(8)
        case "extreme":
            extreme = draw.choice(_EXTREMES)
            broken[at : at + len(extreme)] = extreme
        case "cut":
            del broken[max(at, len(broken) - 5000) :]
        case "remove":
            del broken[at : at + length]
        case "repeat":
            broken[at:at] = broken[at : at + length] * draw.choice((1, 2, 50))
        case "insert":
            broken[at:at] = draw.randbytes(length)
