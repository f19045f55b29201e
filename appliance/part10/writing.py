"""Writes attributes in the DICOM JSON model (PS3.18 annex F) as a data set: little endian, UTF-8 (PS3.5 ch. 7)."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, Final

from appliance.part10.attributes import Content, name_text
from appliance.part10.transfer_syntax import encoding_of

UTF_8: Final = "ISO_IR 192"  # the term of Specific Character Set for what is written here
_NUMBERS: Final = {"US": "<H", "SS": "<h", "UL": "<L", "SL": "<l", "UV": "<Q", "SV": "<q", "FL": "<f", "FD": "<d"}
_LONG: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"})
_SHORT_MAX: Final = 0xFFFE
_DECIMAL_LENGTH: Final = 16  # of a DS (PS3.5 6.2)
_ITEM: Final = struct.pack("<HH", 0xFFFE, 0xE000)


def encode_attributes(content: Content, transfer_syntax_uid: str) -> bytes:
    """The data set, by tag. In explicit VR a value that is too long for its VR is left out."""
    explicit = encoding_of(transfer_syntax_uid).explicit
    return b"".join(_element(int(tag, 16), attribute, explicit) for tag, attribute in sorted(content.items()))


def is_ascii(content: Content) -> bool:
    """Whether no text in it needs a Specific Character Set."""
    return all(_is_ascii(value) for attribute in content.values() for value in attribute.get("Value", ()))


def _is_ascii(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(_is_ascii(each) for each in value.values())
    if isinstance(value, list):
        return all(map(_is_ascii, value))
    return str(value).isascii()


def _element(tag: int, attribute: Mapping[str, Any], explicit: bool) -> bytes:
    vr = str(attribute["vr"])
    value = _value(vr, attribute.get("Value", ()), explicit)
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
    if not explicit:
        return head + struct.pack("<L", len(value)) + value
    if vr in _LONG:
        return head + vr.encode() + struct.pack("<HL", 0, len(value)) + value
    return head + vr.encode() + struct.pack("<H", len(value)) + value if len(value) <= _SHORT_MAX else b""


def _value(vr: str, values: Any, explicit: bool) -> bytes:
    if vr == "SQ":
        return b"".join(_item(item, explicit) for item in values)
    if vr in _NUMBERS:
        return b"".join(struct.pack(_NUMBERS[vr], value) for value in values)
    if vr == "AT":
        return b"".join(struct.pack("<HH", int(tag[:4], 16), int(tag[4:], 16)) for tag in values)
    text = "\\".join(_text(vr, value) for value in values).encode()
    return text + (b"\0" if vr == "UI" else b" ") * (len(text) % 2)


def _item(item: Content, explicit: bool) -> bytes:
    body = b"".join(_element(int(tag, 16), attribute, explicit) for tag, attribute in sorted(item.items()))
    return _ITEM + struct.pack("<L", len(body)) + body


def _text(vr: str, value: Any) -> str:
    if value is None:
        return ""
    if vr == "PN":
        return name_text(value)
    text = str(value)
    return f"{value:.9g}" if vr == "DS" and len(text) > _DECIMAL_LENGTH and isinstance(value, float) else text
