"""JPEG 2000 lossless (ISO/IEC 15444-1) by OpenJPEG, with packet lengths so that a low resolution can be cut out.

Payload of `Jpeg2000`: the codestream, and nothing else. When the samples keep to the bits that the data set says are
stored, the codestream has that precision, and is what PS3.5 A.4.4 wants in a file of JPEG 2000 Image Compression
(Lossless Only).

Payload of `RankedJpeg2000`, for images that use few of the values in their range: a 32-bit little endian length, a
table of that length, then a codestream of each sample's rank among the values in use.
"""

from __future__ import annotations

import struct
from typing import Any, Final

import numpy as np
import openjpeg.utils

from appliance.compress.codecs import zstd
from appliance.compress.codecs.base import CodecError, IntArray
from appliance.compress.codecs.image import to_array, to_block
from appliance.compress.codecs.resolutions import SIDE_MAX, decode_small
from appliance.compress.layout import Layout

_PRECISION_MAX: Final = 24  # bits; what the encoder's entry point takes
_RANGE_MAX: Final = 1 << 16
_SPARSE: Final = 0.8  # share of the range in use below which ranks are tried
_RGB, _UNSPECIFIED = 1, 0  # openjpeg's colour spaces; a transform is applied to RGB alone
_SIZ: Final = struct.Struct(">HHHIIIIIIIIH")  # marker, Lsiz, Rsiz, Xsiz, Ysiz, XO, YO, XT, YT, XTO, YTO, Csiz


class Jpeg2000:
    """Samples as they are."""

    id = 2
    name = "jpeg2000"

    def image_at(self, payload: bytes) -> int | None:  # noqa: ARG002 - it is all that there is
        return 0

    def show(self, front: bytes) -> IntArray | None:
        return decode_small(front, SIDE_MAX)

    def encode(self, block: bytes, layout: Layout, limit: int) -> bytes | None:
        array = to_array(block, layout)
        if array is None:
            return None
        payload = encode_image(array, layout, mct=layout.rgb and _decorrelates(array))
        return payload if payload is not None and len(payload) < limit else None

    def decode(self, payload: bytes, layout: Layout, size: int) -> bytes:
        if size != layout.block_bytes or not layout.rows:
            raise CodecError("an image block has another size than its layout")
        return to_block(decode_image(payload, layout), layout)


class RankedJpeg2000:
    """Each sample's rank among the values in use."""

    id = 3
    name = "jpeg2000-ranked"

    def image_at(self, payload: bytes) -> int | None:
        return 4 + int.from_bytes(payload[:4], "little") if len(payload) >= 4 else None

    def show(self, front: bytes) -> IntArray | None:
        start = self.image_at(front)
        if start is None:
            raise CodecError("an image block ends before its image begins")
        values = _values(front[4:start])
        ranks = decode_small(front[start:], SIDE_MAX)  # means of ranks are ranks
        shown: IntArray = values[np.clip(ranks, 0, len(values) - 1)]
        return shown

    def encode(self, block: bytes, layout: Layout, limit: int) -> bytes | None:
        array = to_array(block, layout)
        if array is None or layout.allocated == 1:
            return None
        low, high = int(array.min()), int(array.max())
        if high - low >= _RANGE_MAX:
            return None
        offsets = (array.astype(np.int64) - low).astype(np.uint16)
        used = np.bincount(offsets.ravel(), minlength=high - low + 1) > 0
        if used.mean() > _SPARSE:
            return None
        ranks = (np.cumsum(used) - 1).astype(np.uint16)
        table = zstd.deflate(struct.pack("<qL", low, len(used)) + np.packbits(used).tobytes())
        codestream = _encode(ranks[offsets], _bits(0, int(used.sum()) - 1), mct=False)
        payload = struct.pack("<L", len(table)) + table + codestream
        return payload if len(payload) < limit else None

    def decode(self, payload: bytes, layout: Layout, size: int) -> bytes:
        if size != layout.block_bytes or not layout.rows or len(payload) < 4:
            raise CodecError("an image block has another size than its layout")
        (length,) = struct.unpack_from("<L", payload)
        values = _values(payload[4 : 4 + length])
        ranks = decode_image(payload[4 + length :], layout)
        if ranks.min() < 0 or ranks.max() >= len(values):
            raise CodecError("an image holds a rank that its table lacks")
        return to_block(values[ranks], layout)


def encode_image(array: IntArray, layout: Layout, *, mct: bool) -> bytes | None:
    """A codestream for the array of `to_array`, at the precision that the layout names or, if need be, a larger one.

    `mct`: with the reversible colour transform. None when the samples are wider than the encoder takes.
    """
    low, high = int(array.min()), int(array.max())
    needed = _bits(low, high)
    precision = layout.stored if needed <= layout.stored <= min(layout.allocated, _PRECISION_MAX) else needed
    if precision > _PRECISION_MAX:
        return None
    return _encode(array, precision, mct=mct)


def fits_stored(array: IntArray, layout: Layout) -> bool:
    """Whether every sample keeps to the bits that the data set says are stored."""
    return _bits(int(array.min()), int(array.max())) <= layout.stored <= layout.allocated


def decode_image(codestream: bytes, layout: Layout) -> IntArray:
    """The array in a codestream whose header claims exactly the layout's shape. Raises CodecError."""
    _check_claims(codestream, layout)
    try:
        array: IntArray = openjpeg.utils.decode(codestream, j2k_format=0)
    except (RuntimeError, ValueError, KeyError, MemoryError) as error:
        raise CodecError("a JPEG 2000 codestream is damaged") from error
    return array


def _encode(array: IntArray, precision: int, *, mct: bool) -> bytes:
    try:
        codestream: bytes = openjpeg.utils.encode_array(
            array,
            bits_stored=precision,
            photometric_interpretation=_RGB if mct else _UNSPECIFIED,
            use_mct=mct,
            add_plt=True,
        )
    except (RuntimeError, ValueError, MemoryError) as error:
        raise CodecError("the JPEG 2000 encoder does not take this image") from error
    return codestream


def _bits(low: int, high: int) -> int:
    """Bits that hold every value from low to high; two's complement when low is negative."""
    return max((~low).bit_length(), high.bit_length()) + 1 if low < 0 else max(1, high.bit_length())


def _decorrelates(array: IntArray) -> bool:
    """Whether the reversible colour transform makes the image smoother: sum of differences between neighbours."""
    red, green, blue = (array[..., i].astype(np.int32) for i in range(3))
    plain = sum(_roughness(plane) for plane in (red, green, blue))
    transformed = sum(_roughness(plane) for plane in ((red + 2 * green + blue) >> 2, blue - green, red - green))
    return transformed < plain


def _roughness(plane: np.ndarray[Any, Any]) -> int:
    return int(np.abs(np.diff(plane, axis=1)).sum(dtype=np.int64))


def _check_claims(codestream: bytes, layout: Layout) -> None:
    """Reads SIZ (A.5.1), so that no decoder allocates what a hostile header asks for."""
    if len(codestream) < 2 + _SIZ.size or codestream[:2] != b"\xff\x4f":
        raise CodecError("this is no JPEG 2000 codestream")
    marker, _, _, width, height, left, top, *_, samples = _SIZ.unpack_from(codestream, 2)
    if marker != 0xFF51 or (left, top) != (0, 0):
        raise CodecError("a JPEG 2000 codestream starts in another way than ours do")
    if (height, width, samples) != (layout.rows, layout.columns, layout.samples):
        raise CodecError("a JPEG 2000 codestream claims another shape than its manifest")


def _values(table: bytes) -> np.ndarray[Any, Any]:
    """The values in use, in order."""
    most = 12 + _RANGE_MAX // 8
    claimed = zstd.content_size(table)
    if not 12 <= claimed <= most:
        raise CodecError("a table of values claims an impossible size")
    plain = zstd.inflate(table, claimed)
    low, count = struct.unpack_from("<qL", plain)
    used = np.unpackbits(np.frombuffer(plain, np.uint8, offset=12))
    if not 0 < count <= len(used) or not -(1 << 31) <= low < 1 << 32:
        raise CodecError("a table of values is damaged")
    values: np.ndarray[Any, Any] = np.flatnonzero(used[:count]) + low
    return values
