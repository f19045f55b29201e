"""The small images inside a JPEG 2000 codestream: where each ends, and how to get one without the rest.

Ours are ordered by resolution (ISO/IEC 15444-1 B.12), one packet a resolution and component, with their lengths in
PLT (A.7.3). So the first packets are the whole image at a half, a quarter, an eighth of its size, each a codestream of
its own once the main header says so: fewer decomposition levels (A.6.1), the sizes of that resolution (B-15), the step
sizes of the bands that are left (A.6.4). No packet of another resolution is needed, nor memory for the full size.
Streams of any other kind have no small images for us.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import openjpeg.utils

from appliance.compress.codecs.base import CodecError

SIDE_MAX: Final = 256  # pixels of a small image's longer side that is decoded
_SOC, _SIZ, _COD, _QCD, _COM = 0xFF4F, 0xFF51, 0xFF52, 0xFF5C, 0xFF64
_SOT, _PLT, _SOD, _EOC = 0xFF90, 0xFF58, 0xFF93, 0xFFD9
_SIZES: Final = struct.Struct(">HHIIIIIIIIH")  # Lsiz, Rsiz, Xsiz, Ysiz, XO, YO, XT, YT, XTO, YTO, Csiz
_STYLE: Final = struct.Struct(">HBBHBB")  # Lcod, Scod, order, layers, transform of colours, levels
_TILE: Final = struct.Struct(">HHHIBB")  # SOT, Lsot, Isot, Psot, TPsot, TNsot
_PRECINCT: Final = 1 << 15  # an image within it has one precinct a resolution
_LEVELS_MAX: Final = 32
_SEGMENTS_MAX: Final = 64
_BY_RESOLUTION: Final = frozenset({0, 1})  # LRCP and RLCP, which are the same with one layer
_COMPONENTS: Final = frozenset({1, 3, 4})
Segments: TypeAlias = tuple[tuple[int, int, int], ...]  # marker, start and end of each


@dataclass(frozen=True, slots=True)
class Resolutions:
    """What the headers of a codestream say. `ends`: the offset after the last packet of each resolution, the smallest
    first; the last of them is the full size. `packets`: where the first begins.
    """

    width: int
    height: int
    components: int
    segments: Segments  # of the main header
    packets: int
    ends: tuple[int, ...]

    @property
    def levels(self) -> int:
        """Decomposition levels."""
        return len(self.ends) - 1

    def size(self, resolution: int) -> tuple[int, int]:
        """Width and height of a resolution, 0 the smallest, in pixels."""
        step = 1 << (self.levels - resolution)
        return -(-self.width // step), -(-self.height // step)

    def within(self, side: int) -> int:
        """The largest resolution whose longer side has at most `side` pixels; the smallest when there is none."""
        fitting = [r for r in range(len(self.ends)) if max(self.size(r)) <= side]
        return fitting[-1] if fitting else 0


def resolutions_of(stream: bytes) -> Resolutions | None:
    """Reads the headers of a codestream, of which the first part is enough; None when it is not one of ours, or too
    short to tell.
    """
    try:
        segments, tile = _segments(stream, 2, _SOT) if stream[:2] == _SOC.to_bytes(2, "big") else ((), 0)
        sizes, style = _one(segments, _SIZ), _one(segments, _COD)
        if sizes is None or style is None or not _is_plain(stream, segments):
            return None
        _, _, width, height, left, top, tile_width, tile_height, *origin, components = _SIZES.unpack_from(stream, sizes)
        _, coding, order, layers, _, levels = _STYLE.unpack_from(stream, style)
        lengths, packets = _packet_lengths(stream, tile)
    except (struct.error, ValueError):
        return None
    whole = 0 < width <= min(tile_width, _PRECINCT) and 0 < height <= min(tile_height, _PRECINCT)
    if not whole or any((left, top, *origin)) or components not in _COMPONENTS or levels > _LEVELS_MAX:
        return None
    if coding or order not in _BY_RESOLUTION or layers != 1 or len(lengths) != (levels + 1) * components:
        return None
    ends = tuple(packets + sum(lengths[: (r + 1) * components]) for r in range(levels + 1))
    return Resolutions(width, height, components, segments, packets, ends)


def _segments(stream: bytes, at: int, last: int) -> tuple[Segments, int]:
    """The marker segments from `at` up to the marker `last`, and where that is. Raises ValueError, struct.error."""
    found: list[tuple[int, int, int]] = []
    for _ in range(_SEGMENTS_MAX):
        (marker,) = struct.unpack_from(">H", stream, at)
        if marker == last:
            return tuple(found), at
        (length,) = struct.unpack_from(">H", stream, at + 2)
        if length < 2 or at + 2 + length > len(stream):
            raise ValueError("a segment that ends outside")
        found.append((marker, at, at + 2 + length))
        at += 2 + length
    raise ValueError("more segments than ours have")


def _one(segments: Segments, marker: int) -> int | None:
    """Where the content of the only segment of this kind begins."""
    starts = [start + 2 for kind, start, _ in segments if kind == marker]
    return starts[0] if len(starts) == 1 else None


def _is_plain(stream: bytes, segments: Segments) -> bool:
    """Whether no other segment is there, no sample is left out, and nothing is quantized (A.6.4)."""
    content = {kind: stream[start + 2 : end] for kind, start, end in segments}
    subsampling = content[_SIZ][_SIZES.size :]
    steps = content.get(_QCD, b"")
    return (
        set(content) <= {_SIZ, _COD, _QCD, _COM}
        and all(step == 1 for at, step in enumerate(subsampling) if at % 3)
        and len(steps) > 2
        and steps[2] & 0x1F == 0
    )


def _packet_lengths(stream: bytes, tile: int) -> tuple[list[int], int]:
    """The lengths of all packets of the only tile-part, and where they begin. Raises ValueError, struct.error."""
    _, length, index, _, part, parts = _TILE.unpack_from(stream, tile)
    if (length, index, part) != (10, 0, 0) or parts > 1:
        raise ValueError("more than one tile-part")
    segments, end = _segments(stream, tile + _TILE.size, _SOD)
    lengths, pending = [], 0
    for kind, start, stop in segments:
        if kind != _PLT:
            raise ValueError("a segment that ours do not have")
        for octet in stream[start + 5 : stop]:
            pending = pending << 7 | octet & 0x7F
            if pending >> 32:
                raise ValueError("a packet longer than any")
            if not octet & 0x80:
                lengths.append(pending)
                pending = 0
    return lengths, end + 2


def small_stream(stream: bytes, found: Resolutions, resolution: int) -> bytes:
    """A codestream of its own for this resolution, out of one that has at least its packets. Raises CodecError."""
    if len(stream) < found.ends[resolution]:
        raise CodecError("a JPEG 2000 codestream ends before the small image does")
    out = bytearray(_SOC.to_bytes(2, "big"))
    for kind, start, end in found.segments:
        out += _reduced(kind, bytearray(stream[start:end]), found, resolution)
    packets = stream[found.packets : found.ends[resolution]]
    out += _TILE.pack(_SOT, 10, 0, _TILE.size + 2 + len(packets), 0, 1) + _SOD.to_bytes(2, "big")
    return bytes(out + packets + _EOC.to_bytes(2, "big"))


def _reduced(kind: int, segment: bytearray, found: Resolutions, resolution: int) -> bytearray:
    if kind == _SIZ:
        size = found.size(resolution)
        struct.pack_into(">II", segment, 6, *size)
        struct.pack_into(">II", segment, 22, *size)  # the tile is the image
    elif kind == _COD:
        segment[9] = resolution
    elif kind == _QCD:
        segment = segment[: 5 + 3 * resolution + 1]  # a byte for LL, then three a level
        struct.pack_into(">H", segment, 2, len(segment) - 2)
    return segment


def decode_small(stream: bytes, side: int) -> np.ndarray[Any, Any]:
    """The image in the largest resolution within `side` pixels that the part of a codestream has whole.

    (rows, columns) or (rows, columns, samples). Raises CodecError when there is none, or it is larger than SIDE_MAX.
    """
    found = resolutions_of(stream)
    if found is None:
        raise CodecError("this is no JPEG 2000 codestream with small images")
    whole = [r for r in range(found.within(side) + 1) if found.ends[r] <= len(stream)]
    if not whole or max(found.size(whole[-1])) > SIDE_MAX:
        raise CodecError("a JPEG 2000 codestream has no small image of a fitting size")
    try:
        array: np.ndarray[Any, Any] = openjpeg.utils.decode(small_stream(stream, found, whole[-1]), j2k_format=0)
    except (RuntimeError, ValueError, KeyError, MemoryError) as error:
        raise CodecError("a JPEG 2000 codestream is damaged") from error
    return array
