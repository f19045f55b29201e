"""A block of native pixel data as an array of integers, and back (PS3.5 8.1, annex D)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.compress.codecs.base import CodecError, IntArray
from appliance.compress.layout import Layout


def to_array(block: bytes, layout: Layout) -> IntArray | None:
    """(rows, columns) or (rows, columns, samples) in native byte order; None when the block is no whole image."""
    if not layout.rows or len(block) != layout.block_bytes or layout.samples not in {1, 3, 4}:
        return None
    if layout.allocated == 1:
        bits = np.unpackbits(np.frombuffer(block, np.uint8), bitorder="little")  # PS3.5 8.1.1
        return bits.reshape(_shape(layout)) if layout.samples == 1 else None
    cells = _unswapped(np.frombuffer(block, np.uint8), layout).view(_dtype(layout))
    if layout.planar:
        planes = cells.reshape(layout.samples, layout.rows, layout.columns)
        return np.ascontiguousarray(planes.transpose(1, 2, 0))
    return cells.reshape(_shape(layout))


def to_block(array: IntArray, layout: Layout) -> bytes:
    """Undoes `to_array`. Raises CodecError when the array is not of the layout's shape."""
    if array.shape != _shape(layout):
        raise CodecError("an image has another shape than its manifest says")
    if layout.allocated == 1:
        return np.packbits(array.astype(np.uint8).ravel(), bitorder="little").tobytes()
    cells = array.astype(_dtype(layout))
    if layout.planar:
        cells = cells.transpose(2, 0, 1)
    return _unswapped(np.ascontiguousarray(cells).reshape(-1).view(np.uint8), layout).tobytes()


def _shape(layout: Layout) -> tuple[int, ...]:
    image = (layout.rows, layout.columns)
    return image if layout.samples == 1 else (*image, layout.samples)


def _dtype(layout: Layout) -> np.dtype[Any]:
    return np.dtype(f"<{'i' if layout.signed else 'u'}{layout.allocated // 8}")


def _unswapped(octets: NDArray[np.uint8], layout: Layout) -> NDArray[np.uint8]:
    """Reverses the bytes of each word; a block that ends in the middle of one is left as it is."""
    if layout.swapped == 1 or len(octets) % layout.swapped:
        return octets
    return np.ascontiguousarray(octets.reshape(-1, layout.swapped)[:, ::-1]).reshape(-1)
