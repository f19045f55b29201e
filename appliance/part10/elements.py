"""Walks the top-level elements of a data set without loading their values (PS3.5 7.1, 7.5)."""

from __future__ import annotations

import contextlib
import io
import struct
from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from appliance.errors import DicomError
from appliance.part10.transfer_syntax import EXPLICIT, IMPLICIT, Encoding

UNDEFINED: Final = 0xFFFFFFFF
PIXEL_DATA: Final = 0x7FE00010
FLOAT_PIXEL_DATA: Final = 0x7FE00008
DOUBLE_PIXEL_DATA: Final = 0x7FE00009
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_LONG_VRS: Final = frozenset(
    {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
)
_VR_NAMES: Final = {
    name.encode(): name
    for name in (
        "AE AS AT CS DA DS DT FD FL IS LO LT OB OD OF OL OV OW PN SH SL SQ SS ST SV TM UC UI UL UN UR US UT UV"
    ).split()
}
# Tag and 32-bit length; 32-bit length; 16-bit length. Ready made: this runs for each element of each instance received.
_LITTLE, _BIG = (tuple(struct.Struct(order + form) for form in ("HHL", "L", "H")) for order in "<>")
_DEEPEST: Final = 64  # real objects nest under ten deep
ELEMENTS_MAX: Final = 5_000_000  # an enhanced multi-frame object of 20,000 frames has about 3 million


@dataclass(frozen=True, slots=True)
class Element:
    """Where an element lies: offsets in bytes from the start of the data set.

    `vr` is two letters, or empty where the encoding does not state it. `undefined` is true for a length of
    0xFFFFFFFF; `value_end` is then after its delimiter.
    """

    tag: int
    vr: str
    offset: int
    value_offset: int
    value_end: int
    undefined: bool


class _Walker:
    def __init__(self, stream: BinaryIO, encoding: Encoding, size: int, elements_max: int) -> None:
        self._stream, self._encoding, self._size = stream, encoding, size
        self._left = elements_max
        self._base = stream.tell()
        self._at = 0

    def elements(self) -> Iterator[Element]:
        self._trust_the_bytes()
        while self._at < self._size:
            start = self._at
            tag, vr, length = self._header(self._encoding)
            value = self._at
            if length == UNDEFINED:
                self._skip_items(self._item_encoding(vr, self._encoding))
            else:
                self._skip(length)
            yield Element(tag, vr, start, value, self._at, length == UNDEFINED)
            self._stream.seek(self._base + self._at)

    def _trust_the_bytes(self) -> None:
        """Some devices write implicit VR under an explicit transfer syntax: the first element tells."""
        head = self._stream.read(8)
        self._stream.seek(self._base)
        if self._encoding.explicit and not self._encoding.big and len(head) == 8 and not _is_vr(head[4:6]):
            self._encoding = IMPLICIT

    def _read(self, count: int) -> bytes:
        data = self._stream.read(count) if self._at + count <= self._size else b""
        if len(data) != count:
            raise DicomError(f"The data set ends in the middle of an element, at byte {self._at}")
        self._at += count
        return data

    def _skip(self, count: int) -> None:
        if self._at + count > self._size:
            raise DicomError(f"An element at byte {self._at} claims {count} bytes, more than the data set has")
        self._at += count
        self._stream.seek(self._base + self._at)

    def _header(self, encoding: Encoding) -> tuple[int, str, int]:
        """Tag, VR and length of the next element or item; stands at its value afterwards."""
        self._left -= 1
        if self._left < 0:
            raise DicomError("The data set has more elements than any real one")
        whole, long, short = _BIG if encoding.big else _LITTLE
        head = self._read(8)
        group, element, length = whole.unpack(head)
        tag = group << 16 | element
        if not encoding.explicit or group == 0xFFFE:
            return tag, "", length
        vr = head[4:6]
        name = _VR_NAMES.get(vr) or self._unlisted(vr)
        if vr in _LONG_VRS:
            return tag, name, long.unpack(self._read(4))[0]
        return tag, name, short.unpack_from(head, 6)[0]

    def _unlisted(self, vr: bytes) -> str:
        """The name of a value representation that this release does not know."""
        if not _is_vr(vr):
            raise DicomError(f"The element at byte {self._at - 8} names no value representation")
        return vr.decode("ascii")

    @staticmethod
    def _item_encoding(vr: str, encoding: Encoding) -> Encoding:
        # PS3.5 6.2.2 note 2: UN of undefined length holds implicit VR little endian.
        return IMPLICIT if vr == "UN" else encoding

    def _skip_items(self, encoding: Encoding) -> None:
        """Skips a sequence (or fragments) of undefined length; no recursion, so depth costs a list entry."""
        open_: list[tuple[bool, Encoding]] = [(False, encoding)]  # (is an item, its encoding)
        while open_:
            in_item, encoding = open_[-1]
            tag, vr, length = self._header(encoding)
            if tag == (_ITEM_END if in_item else _SEQUENCE_END):
                open_.pop()
            elif not in_item and tag != _ITEM:
                raise DicomError(f"A sequence holds something that is not an item, at byte {self._at}")
            elif length == UNDEFINED:
                open_.append((not in_item, self._item_encoding(vr, encoding)))
                if len(open_) > 2 * _DEEPEST:
                    raise DicomError("Sequences are nested deeper than in any real data set")
            else:
                self._skip(length)


def _is_vr(letters: bytes) -> bool:
    return letters.isalpha() and letters.isupper()


def walk(stream: BinaryIO, encoding: Encoding, size: int, *, elements_max: int = ELEMENTS_MAX) -> Iterator[Element]:
    """The top-level elements in the order of the bytes. `stream` stands at the data set's first byte; `size` in bytes.

    Between two elements the caller may read and seek as it likes. Raises DicomError where the bytes break off or
    make no sense; what came before was yielded. Not for a deflated data set.
    """
    return _Walker(stream, encoding, size, elements_max).elements()


def read_plain(head: bytes | bytearray, wanted: Container[int], last: int) -> dict[int, tuple[int, int]] | None:
    """Where the values of the `wanted` tags lie in the first bytes of an explicit little endian data set.

    Tag → (start, end), for tags up to `last`. None when it takes more than these bytes or more than a plain run of
    elements to tell: then `walk` must do it. This is the way of nearly every instance that is received, and of one
    with sequences of undefined length; it costs a third of what `walk` costs.
    """
    found: dict[int, tuple[int, int]] = {}
    at, end = 0, len(head)
    while at + 12 <= end:
        group, element, vr, length = _PLAIN.unpack_from(head, at)
        tag = group << 16 | element
        if tag > last:
            return found
        start = at + 8
        if vr in _LONG_VRS:
            (length,) = _LENGTH.unpack_from(head, start)
            start += 4
        elif vr not in _VR_NAMES:
            return None
        at = start + length if length != UNDEFINED else _end_of_items(head, at)
        if not start <= at <= end:
            return None
        if tag in wanted and length != UNDEFINED:
            found[tag] = (start, at)
    return None


_PLAIN: Final = struct.Struct("<HH2sH")
_LENGTH: Final = struct.Struct("<L")


def _end_of_items(head: bytes | bytearray, at: int) -> int:
    """Where the element of undefined length at `at` ends; 0 when these bytes do not tell."""
    with contextlib.suppress(DicomError), io.BytesIO(head) as stream:
        stream.seek(at)
        return at + next(walk(stream, EXPLICIT, len(head) - at)).value_end
    return 0


def find_pixel_data(stream: BinaryIO, encoding: Encoding, size: int) -> Element | None:
    """The top-level element with pixels (pixel data, float or double float pixel data), or None.

    Raises DicomError when the data set can't be walked up to there.
    """
    for element in walk(stream, encoding, size):
        if element.tag in {PIXEL_DATA, FLOAT_PIXEL_DATA, DOUBLE_PIXEL_DATA}:
            return element
    return None
