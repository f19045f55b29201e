"""zstd (RFC 8878), the bytes of wider samples first sorted by significance: for what is no image, and last resort.

Payload: one byte, the width in bytes of the samples whose bytes were sorted (1: they were not), then one zstd frame.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import zstandard

from appliance.compress.codecs.base import CodecError, WithoutImages
from appliance.compress.layout import CHUNK, Layout

_PROBE_LEVEL: Final = 1
_LEVEL: Final = 12
_WORTH_TRYING: Final = 1.25  # the level gains at most about this much over the probe
_WINDOW_LOG: Final = CHUNK.bit_length() - 1


class Zstd(WithoutImages):
    """zstd over byte planes."""

    id = 1
    name = "zstd"

    def encode(self, block: bytes, layout: Layout, limit: int) -> bytes | None:
        width = layout.width
        sorted_ = sort_bytes(block, width)
        probe = len(_compressor(_PROBE_LEVEL, len(block)).compress(sorted_))
        if probe > limit * _WORTH_TRYING:
            return None
        payload = bytes([width]) + _compressor(_LEVEL, len(block)).compress(sorted_)
        return payload if len(payload) < limit else None

    def decode(self, payload: bytes, layout: Layout, size: int) -> bytes:  # noqa: ARG002 - the payload says it
        width = payload[0] if payload else 0
        if width not in {1, 2, 4, 8}:
            raise CodecError("a zstd block names a sample width that there is not")
        return unsort_bytes(inflate(payload[1:], size), width)


def content_size(frame: bytes) -> int:
    """The size that a zstd frame claims to hold; -1 when it claims none."""
    try:
        return int(zstandard.frame_content_size(frame))
    except zstandard.ZstdError as error:
        raise CodecError("a zstd frame is damaged") from error


def inflate(frame: bytes, size: int) -> bytes:
    """The `size` bytes of one zstd frame; what the frame claims is checked before anything is inflated."""
    try:
        claimed = zstandard.get_frame_parameters(frame)
        if claimed.content_size != size or claimed.window_size > max(2 * size, 1 << 10, 1 << _WINDOW_LOG):
            raise CodecError("a zstd frame claims another size than its manifest")
        data = zstandard.ZstdDecompressor().decompress(frame, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise CodecError("a zstd frame is damaged") from error
    if len(data) != size:
        raise CodecError("a zstd frame holds another size than it claims")
    return data


def deflate(data: bytes) -> bytes:
    """One zstd frame that names its content's size, for `inflate`."""
    return _compressor(_LEVEL, len(data)).compress(data)


def _compressor(level: int, size: int) -> zstandard.ZstdCompressor:
    parameters = zstandard.ZstdCompressionParameters.from_level(level, source_size=size)
    window = min(parameters.window_log, _WINDOW_LOG)
    return zstandard.ZstdCompressor(
        compression_params=zstandard.ZstdCompressionParameters.from_level(level, source_size=size, window_log=window)
    )


def sort_bytes(data: bytes, width: int) -> bytes:
    """All first bytes of the samples, then all second ones, …; what does not fill a sample stays at the end."""
    if width == 1:
        return data
    whole = len(data) // width * width
    cells = np.frombuffer(data, np.uint8, whole).reshape(-1, width)
    return cells.T.tobytes() + data[whole:]


def unsort_bytes(data: bytes, width: int) -> bytes:
    """Undoes `sort_bytes`."""
    if width == 1:
        return data
    whole = len(data) // width * width
    planes = np.frombuffer(data, np.uint8, whole).reshape(width, -1)
    return planes.T.tobytes() + data[whole:]
