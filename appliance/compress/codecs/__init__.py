"""The codec registry: every way to make a block smaller, each a module of its own, tried in order, the smallest kept.

A new codec is a new module and a new line in CODECS with a number that was never used.
"""

from __future__ import annotations

from typing import Final

from appliance.compress.codecs.base import Codec, CodecError
from appliance.compress.codecs.jpeg2000 import Jpeg2000, RankedJpeg2000
from appliance.compress.codecs.store import Store
from appliance.compress.codecs.zstd import Zstd
from appliance.compress.layout import Layout

PLAIN: Final = Store()
CODECS: Final[tuple[Codec, ...]] = (Jpeg2000(), RankedJpeg2000(), Zstd())  # in the order of trying
BY_ID: Final[dict[int, Codec]] = {codec.id: codec for codec in (*CODECS, PLAIN)}


def encode_block(block: bytes, layout: Layout) -> tuple[Codec, bytes]:
    """The codec that makes the block smallest, and its payload. A codec that fails or gains nothing is passed over."""
    best: tuple[Codec, bytes] = (PLAIN, block)
    for codec in CODECS:
        try:
            payload = codec.encode(block, layout, len(best[1]))
        except (CodecError, MemoryError):
            continue
        if payload is not None and len(payload) < len(best[1]):
            best = (codec, payload)
    return best


def decode_block(codec_id: int, payload: bytes, layout: Layout, size: int) -> bytes:
    """The block of `size` bytes. Raises CodecError."""
    codec = BY_ID.get(codec_id)
    if codec is None:
        raise CodecError(f"there is no codec with the number {codec_id}")
    block = codec.decode(payload, layout, size)
    if len(block) != size:
        raise CodecError("a block came out with another length than its manifest says")
    return block
