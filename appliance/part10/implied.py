"""What implicit VR leaves unsaid and a rewriter needs: the VR of a tag, and where an item ends (PS3.5 7.1.3, 7.5)."""

from __future__ import annotations

import io
from typing import Final

from pydicom.datadict import dictionary_VR

from appliance.errors import DicomError
from appliance.part10.elements import UNDEFINED, walk
from appliance.part10.transfer_syntax import Encoding

_ITEM_END: Final = 0xFFFEE00D


def vr_of(tag: int, *, signed: bool) -> str:
    """The VR of an element that does not name it (PS3.6), UN when it is not known. `signed`: what `US or SS` means."""
    if tag >> 16 & 1:
        return "LO" if 0x10 <= tag & 0xFFFF <= 0xFF else "UN"  # a private creator, or a private value
    try:
        vr = str(dictionary_VR(tag))
    except KeyError:
        return "UN"
    if " or " not in vr:
        return vr
    return "OW" if "OW" in vr else "SS" if signed else "US"


def item_at(data: bytes, start: int, length: int, encoding: Encoding) -> tuple[bytes, int]:
    """The elements of the item whose head ends at `start`, and the offset after it. Raises DicomError."""
    if length != UNDEFINED:
        return data[start : start + length], start + length
    stream = io.BytesIO(data)
    stream.seek(start)
    for element in walk(stream, encoding, len(data) - start):
        if element.tag == _ITEM_END:
            return data[start : start + element.offset], start + element.offset + 8
    raise DicomError("An item does not end")
