"""A header (a data set without its pixels) rewritten in explicit VR little endian, every value verbatim (PS3.5 7.1).

Only what names and measures values changes: VRs are added, sequences get undefined length, group lengths (retired)
are left out. A value whose VR is not known becomes UN, as PS3.5 6.2.2 has it. No text is decoded.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from typing import Final

from appliance.errors import DicomError
from appliance.part10.elements import UNDEFINED, Element, walk
from appliance.part10.implied import item_at, vr_of
from appliance.part10.transfer_syntax import Encoding

_LONG_VRS: Final = frozenset("OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_ITEM: Final = b"\xfe\xff\x00\xe0"
_ITEM_END: Final = b"\xfe\xff\x0d\xe0\0\0\0\0"
_SEQUENCE_END: Final = b"\xfe\xff\xdd\xe0\0\0\0\0"
_DEEPEST: Final = 16


def to_explicit(header: bytes, encoding: Encoding, replaced: Mapping[int, bytes], *, signed: bool) -> bytes:
    """The header in explicit VR little endian; the top-level values of `replaced` (tag → value) take the place of
    those there, and are not added where there are none. `signed`: what `US or SS` means here.

    Raises DicomError when the header can't be walked or is big endian.
    """
    if encoding.big or encoding.deflated:
        raise DicomError("Only little endian headers are rewritten")
    return _rewritten(header, encoding, replaced, signed, 0)


def _rewritten(data: bytes, encoding: Encoding, replaced: Mapping[int, bytes], signed: bool, depth: int) -> bytes:
    if depth > _DEEPEST:
        raise DicomError("Sequences are nested deeper than is rewritten")
    out = bytearray()
    for element in walk(io.BytesIO(data), encoding, len(data)):
        if element.tag & 0xFFFF == 0:
            continue
        vr = element.vr or vr_of(element.tag, signed=signed)
        if element.tag in replaced:
            out += _element(element.tag, vr, replaced[element.tag])
        elif not encoding.explicit and vr == "SQ":
            items = data[element.value_offset : element.value_end]
            out += _head(element.tag, "SQ", UNDEFINED) + _items(items, signed, depth) + _SEQUENCE_END
        elif not encoding.explicit and element.undefined:
            out += _head(element.tag, "UN", UNDEFINED) + data[element.value_offset : element.value_end]
        elif encoding.explicit:
            out += data[element.offset : element.value_end]
        else:
            out += _element(element.tag, vr, data[element.value_offset : element.value_end])
    return bytes(out)


def _items(data: bytes, signed: bool, depth: int) -> bytes:
    """The items of an implicit VR sequence, each rewritten."""
    out = bytearray()
    at = 0
    while at + 8 <= len(data) and data[at : at + 4] == _ITEM:
        (length,) = struct.unpack_from("<L", data, at + 4)
        body, at = item_at(data, at + 8, length, Encoding(explicit=False))
        out += _ITEM + struct.pack("<L", UNDEFINED)
        out += _rewritten(body, Encoding(explicit=False), {}, signed, depth + 1) + _ITEM_END
    return bytes(out)


def _element(tag: int, vr: str, value: bytes) -> bytes:
    if vr not in _LONG_VRS and len(value) > 0xFFFE:
        vr = "UN"
    return _head(tag, vr, len(value)) + value


def _head(tag: int, vr: str, length: int) -> bytes:
    start = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr.encode("ascii"))
    return start + (struct.pack("<HL", 0, length) if vr in _LONG_VRS else struct.pack("<H", length))


def value_of(header: bytes, encoding: Encoding, tag: int) -> bytes:
    """The value of one top-level element; empty when there is none."""
    found: Element | None = next((e for e in walk(io.BytesIO(header), encoding, len(header)) if e.tag == tag), None)
    return header[found.value_offset : found.value_end] if found else b""
