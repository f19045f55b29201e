"""What a codec is."""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias

from numpy.typing import NDArray

from appliance.compress.layout import Layout

IntArray: TypeAlias = NDArray[Any]


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

    def show(self, front: bytes) -> IntArray | None:
        """The small image that the first bytes of a payload hold, of SIDE_MAX pixels a side at most; None when this
        codec makes no images. Its values are near those of the samples. Raises CodecError.
        """

    def encode(self, block: bytes, layout: Layout, limit: int) -> bytes | None:
        """The payload, or None when this codec does not take such a block or can't get it below `limit` bytes.

        May raise CodecError; the next codec is then tried.
        """

    def decode(self, payload: bytes, layout: Layout, size: int) -> bytes:
        """The block of `size` bytes. Never allocates much more than a block of that size needs. Raises CodecError."""


class WithoutImages:
    """What a codec is that knows nothing of images."""

    def image_at(self, payload: bytes) -> int | None:  # noqa: ARG002 - whatever it is
        return None

    def show(self, front: bytes) -> IntArray | None:  # noqa: ARG002
        return None


class CodecError(Exception):
    """The codec could not do it; the bytes are not for it."""
