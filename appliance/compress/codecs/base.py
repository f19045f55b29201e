"""What a codec is."""

from __future__ import annotations

from typing import Protocol

from appliance.compress.layout import Layout


class Codec(Protocol):
    """One entry of the registry. Lossless: `decode(encode(block, …), …) == block`, always."""

    @property
    def id(self) -> int:
        """The number that names it in a manifest; never given to another codec."""

    @property
    def name(self) -> str:
        """What people call it."""

    def image_at(self, payload: bytes) -> int | None:
        """Where in a payload a JPEG 2000 codestream begins, of which a part is of use; None when there is none."""

    def encode(self, block: bytes, layout: Layout, limit: int) -> bytes | None:
        """The payload, or None when this codec does not take such a block or can't get it below `limit` bytes.

        May raise CodecError; the next codec is then tried.
        """

    def decode(self, payload: bytes, layout: Layout, size: int) -> bytes:
        """The block of `size` bytes. Never allocates much more than a block of that size needs. Raises CodecError."""


class CodecError(Exception):
    """The codec could not do it; the bytes are not for it."""
