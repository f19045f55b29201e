"""Reads attributes of a data set into the DICOM JSON model (PS3.18 annex F), within ceilings.

`Content` maps eight hexadecimal digits to `{"vr": …, "Value": […]}`, as PS3.18 F.2.2 has it; an attribute without a
value has no `Value`. Texts are decoded, see `text`. What is too long, is bulk data, or can't be read, is left out:
the bytes are kept elsewhere, and a list that can't be drawn helps nobody.
"""

from __future__ import annotations

import io
import math
import re
import struct
from collections.abc import Callable, Container, Iterator, Mapping
from typing import Any, BinaryIO, Final, TypeAlias

from pydicom.datadict import dictionary_VR

from appliance.errors import DicomError
from appliance.part10.elements import UNDEFINED, Element, walk
from appliance.part10.identity import inflated_head
from appliance.part10.text import decode, encodings_of
from appliance.part10.transfer_syntax import EXPLICIT, IMPLICIT, Encoding, encoding_of

Content: TypeAlias = Mapping[str, Mapping[str, Any]]

_CHARACTER_SET: Final = 0x00080005
_VALUE_MAX: Final = 1024  # bytes of one value field
_SEQUENCE_MAX: Final = 16 << 10  # bytes of a sequence
_ITEMS_MAX: Final = 64
_DEEPEST: Final = 6
_ELEMENTS_MAX: Final = 200_000
_LAST_TAG: Final = 0xFFFFFFFF
_ITEM, _SEQUENCE_END, _ITEM_END = 0xFFFEE000, 0xFFFEE0DD, 0xFFFEE00D  # PS3.5 7.5

_ONE_TEXT: Final = frozenset({"ST", "LT", "UT", "UR"})  # a backslash is part of it (PS3.5 6.2)
_TEXTS: Final = frozenset({"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "SH", "TM", "UC", "UI"}) | _ONE_TEXT
_NUMBERS: Final = {"US": "H", "SS": "h", "UL": "L", "SL": "l", "UV": "Q", "SV": "q", "FL": "f", "FD": "d"}
_DECIMAL: Final = re.compile(r"[+-]?(\d{1,16}\.?\d{0,16}|\.\d{1,16})([eE][+-]?\d{1,3})?", re.ASCII)
_INTEGER: Final = re.compile(r"[+-]?\d{1,12}", re.ASCII)
_GROUPS: Final = ("Alphabetic", "Ideographic", "Phonetic")


def read_attributes(
    stream: BinaryIO, transfer_syntax_uid: str, size: int, wanted: Container[int], last: int
) -> dict[str, dict[str, Any]]:
    """The attributes with the `wanted` tags, up to tag `last`, of the data set of `size` bytes from where `stream` is.

    Where the bytes break off or make no sense, what came before is the answer. Raises OSError alone.
    """
    encoding = encoding_of(transfer_syntax_uid)
    try:
        if encoding.deflated:
            stream, size = inflated_head(stream, size)
    except DicomError:
        return {}
    return _Reader(wanted, last).read(stream, encoding, size, 0)


def read_identifier(data: bytes, transfer_syntax_uid: str, *, items_max: int = _ITEMS_MAX) -> dict[str, dict[str, Any]]:
    """Every attribute of a question's data set; one that is no text and no number has no value.

    Raises DicomError where it can't be read to its end, or has more than `items_max` items in a sequence: half a
    question would be another question.
    """
    encoding = encoding_of(transfer_syntax_uid)
    if encoding.deflated:
        raise DicomError("An identifier is not deflated here")
    return _Reader(None, _LAST_TAG, items_max).read(io.BytesIO(data), encoding, len(data), 0)


class _Reader:
    """With `wanted` None nothing is left out, however long, and what can't be read raises DicomError."""

    def __init__(self, wanted: Container[int] | None, last: int, items_max: int = _ITEMS_MAX) -> None:
        self._wanted, self._last, self._strict = wanted, last, wanted is None
        self._items_max = items_max
        self._encodings = encodings_of(b"")

    def read(self, stream: BinaryIO, encoding: Encoding, size: int, depth: int) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        base = stream.tell()
        try:
            for element in walk(stream, encoding, size, elements_max=_ELEMENTS_MAX):
                if element.tag == _ITEM_END or (not depth and element.tag > self._last):
                    break
                if depth or element.tag == _CHARACTER_SET or self._wants(element.tag):
                    self._take(found, stream, base, element, encoding, depth)
        except DicomError:
            if self._strict:
                raise
        return found

    def _wants(self, tag: int) -> bool:
        return self._wanted is None or tag in self._wanted

    def _take(
        self,
        found: dict[str, dict[str, Any]],
        stream: BinaryIO,
        base: int,
        element: Element,
        encoding: Encoding,
        depth: int,
    ) -> None:
        vr = _vr_of(element)
        length = element.value_end - element.value_offset
        is_long = length > (_SEQUENCE_MAX if vr == "SQ" else _VALUE_MAX)
        if (is_long and not self._strict) or (element.undefined and vr != "SQ"):
            return
        stream.seek(base + element.value_offset)
        value = stream.read(length)
        if element.tag == _CHARACTER_SET:
            self._encodings = encodings_of(value)
        if not depth and not self._wants(element.tag):
            return
        if vr == "SQ":
            values = self._items(value, _encoding_inside(element, encoding), depth)
        else:
            values = _values(vr, value, self._encodings, encoding.byte_order)
        if values is None and self._strict:
            values = []
        if values is not None:
            found[f"{element.tag:08X}"] = {"vr": vr, "Value": values} if values else {"vr": vr}

    def _items(self, value: bytes, encoding: Encoding, depth: int) -> list[dict[str, Any]] | None:
        outer = self._encodings  # an item may name its own character set (PS3.3 C.12.1.1.2)
        items = list[dict[str, Any]]()
        try:
            for item in _item_bytes(value, encoding) if depth < _DEEPEST else ():
                if len(items) == self._items_max:
                    self._complain(f"A sequence of more than {self._items_max} items")
                    break
                items.append(self.read(io.BytesIO(item), encoding, len(item), depth + 1))
                self._encodings = outer
        except DicomError:
            if self._strict:
                raise
            return None
        return items

    def _complain(self, what: str) -> None:
        if self._strict:
            raise DicomError(what)


def _vr_of(element: Element) -> str:
    """As stated; of implicit VR and of UN as the dictionary has it (PS3.5 6.2.2). Of two the first: `US or SS`."""
    if element.vr not in {"", "UN"}:
        return element.vr
    try:
        return str(dictionary_VR(element.tag))[:2]
    except KeyError:
        return "UN"


def _encoding_inside(element: Element, encoding: Encoding) -> Encoding:
    """Of a sequence's items. The walker may have found implicit VR where the transfer syntax says otherwise."""
    if element.vr in {"", "UN"}:
        return IMPLICIT
    return encoding if encoding.explicit else EXPLICIT


def _item_bytes(value: bytes, encoding: Encoding) -> Iterator[bytes]:
    """The data sets of a sequence's items (PS3.5 7.5). Raises DicomError."""
    head = struct.Struct(encoding.byte_order + "HHL")
    stream, at = io.BytesIO(value), 0
    while at + 8 <= len(value):
        group, number, length = head.unpack_from(value, at)
        at += 8
        if group << 16 | number == _SEQUENCE_END:
            return
        if group << 16 | number != _ITEM:
            raise DicomError("A sequence holds something that is not an item")
        end = at + length if length != UNDEFINED else _end_of_item(stream, at, len(value), encoding)
        yield value[at:end]
        at = end


def _end_of_item(stream: BinaryIO, at: int, size: int, encoding: Encoding) -> int:
    """Where an item of undefined length that begins at `at` ends, its delimiter counted."""
    stream.seek(at)
    for element in walk(stream, encoding, size - at, elements_max=_ELEMENTS_MAX):
        if element.tag == _ITEM_END:
            return at + element.value_end
    return size


def _values(vr: str, value: bytes, encodings: list[str], byte_order: str) -> list[Any] | None:
    """The values; None when they are not for a list."""
    if vr == "PN":
        return _dropped_if_empty([_name(part) for part in decode(value, encodings).split("\\")])
    if vr in _TEXTS:
        return _texts(vr, decode(value, encodings, lines=vr in _ONE_TEXT))
    if vr in _NUMBERS:
        return _binary(_NUMBERS[vr], value, byte_order)
    if vr == "AT":
        words = struct.unpack(f"{byte_order}{len(value) // 4 * 2}H", value[: len(value) // 4 * 4])
        return [f"{group:04X}{number:04X}" for group, number in zip(words[::2], words[1::2], strict=True)]
    return None


def _texts(vr: str, text: str) -> list[Any]:
    parts = [text] if vr in _ONE_TEXT else [part.strip() for part in text.split("\\")]
    convert: Callable[[str], Any] = {"IS": _integer, "DS": _decimal}.get(vr, str)
    return _dropped_if_empty([convert(part) if part else None for part in parts])


def _integer(text: str) -> int | str:
    return int(text) if _INTEGER.fullmatch(text) else text


def _decimal(text: str) -> float | int | str:
    if _INTEGER.fullmatch(text):
        return int(text)
    number = float(text) if _DECIMAL.fullmatch(text) else math.inf
    return number if math.isfinite(number) else text


def _name(text: str) -> dict[str, str] | None:
    """PS3.18 F.2.2: the component groups that there are."""
    groups = [group.strip() for group in text.split("=")][:3]
    return {name: group for name, group in zip(_GROUPS, groups, strict=False) if group.strip("^ ")} or None


def _binary(form: str, value: bytes, byte_order: str) -> list[Any] | None:
    count = len(value) // struct.calcsize(f"={form}")
    numbers = struct.unpack_from(f"{byte_order}{count}{form}", value)
    return None if any(isinstance(number, float) and not math.isfinite(number) for number in numbers) else [*numbers]


def _dropped_if_empty(values: list[Any]) -> list[Any]:
    return values if any(value is not None for value in values) else []


def first_text(content: Content, tag: int) -> str:
    """The first value as text, empty when there is none; of a name its groups with `=` between them."""
    values = texts_of(content, tag)
    return values[0] if values else ""


def texts_of(content: Content, tag: int) -> list[str]:
    """All values as texts; of a sequence none."""
    values = content.get(f"{tag:08X}", {}).get("Value", ())
    return [_as_text(value) for value in values if not _is_item(content, tag)]


def items_of(content: Content, tag: int) -> list[Content]:
    """The items of a sequence."""
    return list(content.get(f"{tag:08X}", {}).get("Value", ())) if _is_item(content, tag) else []


def _is_item(content: Content, tag: int) -> bool:
    return content.get(f"{tag:08X}", {}).get("vr") == "SQ"


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    return name_text(value) if isinstance(value, Mapping) else str(value)


def name_text(name: Mapping[str, Any]) -> str:
    """The groups of a name as one text (PS3.5 6.2.1)."""
    return "=".join(str(name.get(group, "")) for group in _GROUPS).rstrip("=")
