"""A header (a data set without its pixels) in another encoding, every value as it was (PS3.5 7.1, 7.3). Pure.

From implicit VR, explicit VR and big endian, to implicit or explicit VR little endian. Sequences get undefined length,
group lengths (retired) are left out, what has no known VR is UN (PS3.5 6.2.2). No text is decoded.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from appliance.errors import DicomError
from appliance.part10.elements import UNDEFINED, Element, walk
from appliance.part10.implied import item_at, vr_of
from appliance.part10.transfer_syntax import IMPLICIT, Encoding

_LONG_VRS: Final = frozenset("OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
# Bytes of the words that a big endian value is made of (PS3.5 7.3); UN and texts have none.
_WORDS: Final = {
    **dict.fromkeys(("US", "SS", "OW", "AT"), 2),
    **dict.fromkeys(("UL", "SL", "FL", "OF", "OL"), 4),
    **dict.fromkeys(("FD", "OD", "OV", "SV", "UV"), 8),
}
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_DEEPEST: Final = 16


@dataclass(frozen=True)
class Way:
    """From one encoding to another. `signed`: what `US or SS` means in this data set."""

    source: Encoding
    target: Encoding
    signed: bool


def rewritten(header: bytes, way: Way, changes: Mapping[int, bytes | None] | None = None) -> bytes:
    """The header in the target's encoding. `changes`: top-level tag → its value from now on, None to leave it out.

    Raises DicomError when the header can't be walked.
    """
    if way.source.explicit and not way.source.big and header[4:6] and not header[4:6].isalpha():
        way = Way(IMPLICIT, way.target, way.signed)  # some devices write so under an explicit transfer syntax
    return _elements(header, way, changes or {}, 0)


def _elements(data: bytes, way: Way, changes: Mapping[int, bytes | None], depth: int) -> bytes:
    if depth > _DEEPEST:
        raise DicomError("Sequences are nested deeper than is rewritten")
    out = bytearray()
    pending = sorted(changes)
    for element in walk(io.BytesIO(data), way.source, len(data)):
        while pending and pending[0] <= element.tag:
            out += _changed(pending.pop(0), changes, way)
        if element.tag not in changes and element.tag & 0xFFFF:
            out += _element(data, element, way, depth)
    return bytes(out) + b"".join(_changed(tag, changes, way) for tag in pending)


def _changed(tag: int, changes: Mapping[int, bytes | None], way: Way) -> bytes:
    value = changes[tag]
    return b"" if value is None else element_bytes(tag, vr_of(tag, signed=way.signed), value, way.target)


def _element(data: bytes, element: Element, way: Way, depth: int) -> bytes:
    value = data[element.value_offset : element.value_end]
    vr = element.vr or vr_of(element.tag, signed=way.signed)
    if vr == "SQ":
        items = _items(value, way, depth)
        return head(element.tag, "SQ", UNDEFINED, way.target) + items + _mark(_SEQUENCE_END)
    if element.undefined:  # implicit VR little endian inside, whatever is around it, and its own delimiter at the end
        return head(element.tag, "UN", UNDEFINED, way.target) + value
    return element_bytes(element.tag, vr, swapped(value, _WORDS.get(vr, 1)) if way.source.big else value, way.target)


def _items(data: bytes, way: Way, depth: int) -> bytes:
    """The items of a sequence, each rewritten."""
    out = bytearray()
    at = 0
    while at + 8 <= len(data):
        group, number, length = struct.unpack_from(way.source.byte_order + "HHL", data, at)
        if group << 16 | number != _ITEM:
            break
        body, at = item_at(data, at + 8, length, way.source)
        out += _mark(_ITEM, UNDEFINED) + _elements(body, way, {}, depth + 1) + _mark(_ITEM_END)
    return bytes(out)


def swapped(value: bytes, width: int) -> bytes:
    """The bytes of each word of `width` bytes reversed; those of a word that breaks off stay."""
    whole = len(value) - len(value) % width
    if width == 1 or not whole:
        return value
    return np.frombuffer(value, np.uint8, whole).reshape(-1, width)[:, ::-1].tobytes() + value[whole:]


def element_bytes(tag: int, vr: str, value: bytes, target: Encoding) -> bytes:
    """One element; in explicit VR a value that is too long for its VR becomes UN (PS3.5 6.2.2)."""
    if vr not in _LONG_VRS and len(value) > 0xFFFE:
        vr = "UN"
    return head(tag, vr, len(value), target) + value


def head(tag: int, vr: str, length: int, target: Encoding) -> bytes:
    """What comes before a value: tag, VR where the target names it, length."""
    start = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
    if not target.explicit:
        return start + struct.pack("<L", length)
    start += vr.encode("ascii")
    return start + (struct.pack("<HL", 0, length) if vr in _LONG_VRS else struct.pack("<H", length))


def _mark(tag: int, length: int = 0) -> bytes:
    return struct.pack("<HHL", tag >> 16, tag & 0xFFFF, length)
