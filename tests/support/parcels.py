"""Parcels written and read in this process, without workers: for tests of the format itself."""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from collections.abc import Sequence
from typing import Any

from support.images import EXPLICIT, SECONDARY_CAPTURE

from appliance.compress.parcel import entries
from appliance.compress.read import Sink, check_end, open_parcel, restore_instance
from appliance.compress.write import PackItem, PackRequest, ParcelWriter

REQUEST = PackRequest(
    study="1.2.3", site="site-1", priority="routine", parcel_bytes=1 << 30, parcel_instances=256, memory_bytes=1 << 30
)


def item_of(data: bytes, *, syntax: str = EXPLICIT, number: int = 1, **changed: Any) -> PackItem:
    """What the pool would send a worker about this data set."""
    values: dict[str, Any] = {
        "data_offset": 0,
        "bytes": len(data),
        "digest": hashlib.sha256(data).digest(),
        "transfer_syntax_uid": syntax,
        "sop_class_uid": SECONDARY_CAPTURE,
        "sop_instance_uid": f"1.2.3.{number}",
        "received_at": 1_795_000_000_000 + number,
        "calling_ae": "CT1",
        "plain": False,
        "keep_header": False,
    }
    return PackItem(**(values | changed))


def write(
    data_sets: Sequence[bytes], *, syntax: str = EXPLICIT, dictionary: bytes | None = None, **changed: Any
) -> bytes:
    """The parcel that holds these data sets."""
    out = io.BytesIO()
    writer = ParcelWriter(REQUEST, io.BytesIO())
    for number, data in enumerate(data_sets):
        writer.add(item_of(data, syntax=syntax, number=number, **changed), io.BytesIO(data))
    writer.finish(out, dictionary)
    return out.getvalue()


def read(parcel: bytes, dictionary: bytes | None = None) -> list[bytes]:
    """The data sets in it. Raises ParcelError, CodecError."""
    with tempfile.TemporaryFile() as file, tempfile.TemporaryFile() as restored:
        file.write(parcel)
        file.flush()
        opened = open_parcel(file.fileno(), dictionary)
        found = []
        for entry in entries(opened.manifest):
            start = os.lseek(restored.fileno(), 0, os.SEEK_END)
            restore_instance(opened, entry, Sink(restored.fileno()))
            found.append(os.pread(restored.fileno(), entry.bytes + 1, start))
        check_end(opened)
        return found
