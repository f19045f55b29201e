"""Data sets with pixels of any shape, written element by element, and sources for the worker pool."""

from __future__ import annotations

import hashlib
import io
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from support.tiny_instances import element

from appliance.compress.values import ParcelContext, Source
from appliance.model.priority import Priority
from appliance.part10.meta import FileMeta, encode_prefix, read_prefix

IMPLICIT: Final = "1.2.840.10008.1.2"
EXPLICIT: Final = "1.2.840.10008.1.2.1"
BIG: Final = "1.2.840.10008.1.2.2"
SECONDARY_CAPTURE: Final = "1.2.840.10008.5.1.4.1.1.7"
CONTEXT: Final = ParcelContext(study_instance_uid="1.2.3", site="site-1", priority=Priority.ROUTINE)


@dataclass(frozen=True)
class Image:
    """The Image Pixel attributes of a data set (PS3.3 C.7.6.3)."""

    rows: int
    columns: int
    samples: int = 1
    allocated: int = 16
    stored: int = 16
    signed: bool = False
    planar: int = 0
    frames: int = 1
    photometric: str = "MONOCHROME2"

    @property
    def value_bytes(self) -> int:
        """Bytes of the pixel value before padding."""
        return -(-self.rows * self.columns * self.samples * self.allocated * self.frames // 8)


def data_set(
    image: Image,
    pixels: bytes,
    *,
    syntax: str = EXPLICIT,
    tag: int = 0x7FE00010,
    vr: str = "OW",
    number: int = 1,
    after: bytes = b"",
) -> bytes:
    """The data set, its pixel value padded to even length. Implicit and big endian are made from the same elements."""
    elements = [
        (0x00080016, "UI", SECONDARY_CAPTURE.encode() + b"\0"),
        (0x00080018, "UI", _even(f"1.2.3.{number}".encode(), b"\0")),
        (0x00100010, "PN", b"Nobody^Here "),
        (0x00200013, "IS", _even(str(number).encode(), b" ")),
        (0x00280002, "US", image.samples),
        (0x00280004, "CS", _even(image.photometric.encode(), b" ")),
        (0x00280006, "US", image.planar),
        (0x00280008, "IS", _even(str(image.frames).encode(), b" ")),
        (0x00280010, "US", image.rows),
        (0x00280011, "US", image.columns),
        (0x00280100, "US", image.allocated),
        (0x00280101, "US", image.stored),
        (0x00280103, "US", int(image.signed)),
        (tag, vr, _even(pixels, b"\0")),
    ]
    return b"".join(_encoded(*one, syntax) for one in elements) + after


def _even(value: bytes, pad: bytes) -> bytes:
    return value + pad * (len(value) % 2)


def _encoded(tag: int, vr: str, value: bytes | int, syntax: str) -> bytes:
    order = ">" if syntax == BIG else "<"
    raw = struct.pack(order + "H", value) if isinstance(value, int) else value
    if syntax == EXPLICIT:
        return element(tag, vr, raw)
    if syntax == IMPLICIT:
        return struct.pack("<HHL", tag >> 16, tag & 0xFFFF, len(raw)) + raw
    head = struct.pack(">HH2s", tag >> 16, tag & 0xFFFF, vr.encode())
    long = vr in {"OB", "OW", "OF", "OD"}
    return head + (struct.pack(">HL", 0, len(raw)) if long else struct.pack(">H", len(raw))) + raw


def write_source(path: Path, data: bytes, *, syntax: str = EXPLICIT, number: int = 1, **changed: Any) -> Source:
    """Writes the data set as the spool would, and says what the queue would know of it."""
    uid = f"1.2.3.{number}"
    path.write_bytes(encode_prefix(FileMeta(SECONDARY_CAPTURE, uid, syntax)) + data)
    return source_of(path, **changed)


def source_of(path: Path, **changed: Any) -> Source:
    """A Part 10 file as a source; `changed` replaces what a test cares about."""
    content = path.read_bytes()
    meta, offset = read_prefix(io.BytesIO(content))
    values: dict[str, Any] = {
        "path": path,
        "data_offset": offset,
        "bytes": len(content) - offset,
        "digest": hashlib.sha256(content[offset:]).digest(),
        "transfer_syntax_uid": meta.transfer_syntax_uid,
        "sop_class_uid": meta.sop_class_uid or SECONDARY_CAPTURE,
        "sop_instance_uid": meta.sop_instance_uid or "1.2.3",
        "received_at": 1_795_000_000_000,
        "calling_ae": "CT1",
    }
    return Source(**(values | changed))
