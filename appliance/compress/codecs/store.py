"""The bytes themselves: what always works."""

from __future__ import annotations

from appliance.compress.codecs.base import CodecError, WithoutImages
from appliance.compress.layout import Layout


class Store(WithoutImages):
    """Plain bytes."""

    id = 0
    name = "plain"

    def encode(self, block: bytes, layout: Layout, limit: int) -> bytes | None:  # noqa: ARG002 - it needs neither
        return block

    def decode(self, payload: bytes, layout: Layout, size: int) -> bytes:  # noqa: ARG002
        if len(payload) != size:
            raise CodecError("a plain block has another length than its manifest says")
        return payload
