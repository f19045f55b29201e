"""The start of a DICOM file: preamble, prefix and file meta information (PS3.10 7.1)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO, Final

from appliance.errors import DicomError

IMPLEMENTATION_CLASS_UID: Final = "2.25.302186420185274910362285734013960547121"
IMPLEMENTATION_VERSION_NAME: Final = "APPLIANCE_0_1"
_LONG_VRS: Final = frozenset({b"OB", b"OW", b"UN", b"UT", b"SQ"})
_META_MAX: Final = 1 << 16


@dataclass(frozen=True)
class FileMeta:
    """What the file meta says of the data set behind it."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str


def encode_prefix(meta: FileMeta) -> bytes:
    """The bytes before the data set: 128 zero bytes, `DICM`, and group 2 in explicit VR little endian."""
    elements = [
        _element(0x0001, b"OB", b"\x00\x01"),
        _element(0x0002, b"UI", _uid(meta.sop_class_uid)),
        _element(0x0003, b"UI", _uid(meta.sop_instance_uid)),
        _element(0x0010, b"UI", _uid(meta.transfer_syntax_uid)),
        _element(0x0012, b"UI", _uid(IMPLEMENTATION_CLASS_UID)),
        _element(0x0013, b"SH", _even(IMPLEMENTATION_VERSION_NAME.encode("ascii"), b" ")),
    ]
    group = b"".join(elements)
    return b"\0" * 128 + b"DICM" + _element(0x0000, b"UL", struct.pack("<L", len(group))) + group


def read_prefix(stream: BinaryIO) -> tuple[FileMeta, int]:
    """The file meta, and how many bytes of the stream come before the data set; `stream` stands at its first byte.

    Raises DicomError when it is no DICOM file or its meta names no transfer syntax.
    """
    head = stream.read(132 + _META_MAX)
    if head[128:132] != b"DICM":
        raise DicomError("This is not a DICOM file: it lacks the prefix DICM")
    values, at = {}, 132
    while head[at : at + 2] == b"\x02\x00":
        tag, value, at = _next_element(head, at)
        values[tag] = value
    texts = {tag: value.rstrip(b"\0 ").decode("ascii", "replace") for tag, value in values.items()}
    if not texts.get(0x0010):
        raise DicomError("The file meta information names no transfer syntax")
    return FileMeta(texts.get(0x0002, ""), texts.get(0x0003, ""), texts[0x0010]), at


def _next_element(head: bytes, at: int) -> tuple[int, bytes, int]:
    """Element number, value and the offset after it."""
    try:
        element, vr = struct.unpack_from("<H2s", head, at + 2)
        if vr in _LONG_VRS:
            (length,) = struct.unpack_from("<L", head, at + 8)
            start = at + 12
        else:
            (length,) = struct.unpack_from("<H", head, at + 6)
            start = at + 8
    except struct.error as error:
        raise DicomError("The file ends in its file meta information") from error
    if start + length > len(head):
        raise DicomError("The file meta information is longer than any real one, or the file ends in it")
    return element, head[start : start + length], start + length


def _element(number: int, vr: bytes, value: bytes) -> bytes:
    if vr in _LONG_VRS:
        return struct.pack("<HH2sHL", 2, number, vr, 0, len(value)) + value
    return struct.pack("<HH2sH", 2, number, vr, len(value)) + value


def _uid(uid: str) -> bytes:
    return _even(uid.encode("ascii"), b"\0")


def _even(value: bytes, pad: bytes) -> bytes:
    return value + pad * (len(value) % 2)
