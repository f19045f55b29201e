"""Where a data set's pixels lie and how they are laid out (PS3.3 C.7.6.3, PS3.5 8): what a codec must know.

A data set is cut in three: prefix, body, suffix. The body is cut into blocks of one size, the last may be shorter;
each goes through a codec of its own. The cut is chosen for size alone: any cut gives the same bytes back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

import msgspec

from appliance.errors import DicomError
from appliance.part10.elements import DOUBLE_PIXEL_DATA, FLOAT_PIXEL_DATA, PIXEL_DATA, Element, walk
from appliance.part10.transfer_syntax import NATIVE, encoding_of

CHUNK: Final = 4 << 20  # bytes of a block where the body is not cut into frames
BLOCK_MAX: Final = 256 << 20  # bytes of a block
_FRAME_MIN: Final = 64  # smaller frames are not worth a block each
_FRAMES_MAX: Final = 200_000
HEADER_MAX: Final = 64 << 20  # a longer prefix and suffix is not a header
BODILESS_MAX: Final = 1 << 20  # a data set without pixels up to this size is all prefix, a longer one all body
_SAMPLES, _PHOTOMETRIC, _PLANAR, _FRAMES = 0x00280002, 0x00280004, 0x00280006, 0x00280008
_ROWS, _COLUMNS, _ALLOCATED, _STORED, _SIGNED = 0x00280010, 0x00280011, 0x00280100, 0x00280101, 0x00280103
_IMAGE_PIXEL: Final = frozenset(
    {_SAMPLES, _PHOTOMETRIC, _PLANAR, _FRAMES, _ROWS, _COLUMNS, _ALLOCATED, _STORED, _SIGNED}
)
_PIXELS: Final = frozenset({PIXEL_DATA, FLOAT_PIXEL_DATA, DOUBLE_PIXEL_DATA})


class Layout(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """How the bytes of a block mean samples. It goes into the manifest as it stands.

    `rows` of 0: no image, a run of samples `allocated` bits wide, cut into blocks of CHUNK bytes. Else a block is one
    frame of rows × columns × samples.
    """

    allocated: int = 8  # bits of a sample's cell: 1, 8, 16, 32, 64
    rows: int = 0
    columns: int = 0
    samples: int = 1
    planar: bool = False  # all of the first sample, then all of the second, …
    stored: int = 0  # bits that ought to be in use; a codec looks for itself
    signed: bool = False
    swapped: int = 1  # bytes of a word whose order is reversed (big endian); 1: none
    rgb: bool = False  # three samples that a colour transform may decorrelate

    @property
    def block_bytes(self) -> int:
        """Size of every block but the last, in bytes."""
        return self.rows * self.columns * self.samples * self.allocated // 8 if self.rows else CHUNK

    @property
    def width(self) -> int:
        """Bytes of a sample's cell, at least 1."""
        return max(1, self.allocated // 8)

    def blocks(self, body: int) -> Iterator[int]:
        """The sizes of the blocks of a body of `body` bytes."""
        size = self.block_bytes
        for at in range(0, body, size):
            yield min(size, body - at)


OPAQUE: Final = Layout()


@dataclass(frozen=True, slots=True)
class Cut:
    """The lengths of the three parts of a data set, in bytes, and the layout of the body."""

    prefix: int
    body: int
    suffix: int
    layout: Layout = OPAQUE
    native: bool = False  # the body is whole frames of native pixel data


def cut_data_set(stream: BinaryIO, transfer_syntax_uid: str, size: int, samples_max: int) -> Cut:
    """Decides how to cut the data set of `size` bytes at which `stream` stands.

    Frames of more than `samples_max` samples are not taken as images. A data set that can't be walked is all body.
    """
    encoding = encoding_of(transfer_syntax_uid)
    opaque = Cut(0, size, 0)
    if encoding.deflated:
        return opaque
    base = stream.tell()
    values: dict[int, bytes] = {}
    pixels = None
    try:
        for element in walk(stream, encoding, size):
            if element.tag in _PIXELS:
                pixels = element
                break
            if element.tag in _IMAGE_PIXEL and element.value_end - element.value_offset <= 64:
                stream.seek(base + element.value_offset)
                values[element.tag] = stream.read(element.value_end - element.value_offset)
    except DicomError:
        return opaque
    if pixels is None:
        return Cut(size, 0, 0) if size <= BODILESS_MAX else opaque
    if pixels.value_offset + size - pixels.value_end > HEADER_MAX:
        return opaque
    return _cut_at(pixels, size, _layout_of(pixels, values, transfer_syntax_uid, samples_max))


def _cut_at(pixels: Element, size: int, layout: Layout) -> Cut:
    """Whole frames are the body; a padding byte behind them goes with the suffix."""
    value = pixels.value_end - pixels.value_offset
    body = value - value % layout.block_bytes if layout.rows else value
    return Cut(pixels.value_offset, body, size - pixels.value_offset - body, layout, bool(layout.rows))


def _layout_of(pixels: Element, values: dict[int, bytes], transfer_syntax_uid: str, samples_max: int) -> Layout:
    if pixels.undefined or transfer_syntax_uid not in NATIVE:
        return OPAQUE  # encapsulated, or an unknown encoding of the pixels
    if pixels.tag != PIXEL_DATA:
        bits = 32 if pixels.tag == FLOAT_PIXEL_DATA else 64
        return Layout(allocated=bits)
    order = encoding_of(transfer_syntax_uid)
    image = _Image(values, "big" if order.big else "little")
    layout = image.layout(words=order.big and pixels.vr != "OB")
    value = pixels.value_end - pixels.value_offset
    if layout.rows and _is_cut(layout, image.frames, value, samples_max):
        return layout
    return Layout(allocated=layout.allocated if layout.allocated > 1 else 8)


def _is_cut(layout: Layout, frames: int, value: int, samples_max: int) -> bool:
    """Whether the value is what the attributes say, and worth a block a frame."""
    frame = layout.block_bytes
    small_enough = frame <= BLOCK_MAX and layout.rows * layout.columns * layout.samples <= samples_max
    return small_enough and frame >= _FRAME_MIN and frames <= _FRAMES_MAX and value - frames * frame in {0, 1}


class _Image:
    """The Image Pixel attributes as numbers; absent or malformed ones are 0."""

    def __init__(self, values: dict[int, bytes], order: str) -> None:
        self._values, self._big = values, order == "big"
        self.frames = self._text_number(_FRAMES) or 1

    def layout(self, *, words: bool) -> Layout:
        """The layout that they describe; one without rows when they describe none that a codec takes."""
        allocated, samples = self._number(_ALLOCATED), self._number(_SAMPLES) or 1
        rows, columns = self._number(_ROWS), self._number(_COLUMNS)
        if allocated not in {1, 8, 16, 32} or not rows or not columns or rows * columns * samples * allocated % 8:
            return Layout(allocated=allocated if allocated in {8, 16, 32, 64} else 8)
        photometric = self._values.get(_PHOTOMETRIC, b"").strip(b" \0")
        if photometric == b"YBR_FULL_422" and samples == 3:
            # PS3.3 C.7.6.3.1.2: two pixels share their chrominance, Y1 Y2 CB CR; an image of four samples.
            columns, samples, photometric = columns // 2, 4, b""
        return Layout(
            allocated=allocated,
            rows=rows if columns else 0,
            columns=columns,
            samples=samples,
            planar=self._number(_PLANAR) == 1 and samples in {3},
            stored=self._number(_STORED),
            signed=self._number(_SIGNED) == 1,
            swapped=max(2, allocated // 8) if words and allocated > 1 else 1,
            rgb=photometric == b"RGB" and samples == 3,
        )

    def _number(self, tag: int) -> int:
        value = self._values.get(tag, b"")
        return int.from_bytes(value, "big" if self._big else "little") if len(value) == 2 else 0

    def _text_number(self, tag: int) -> int:
        text = self._values.get(tag, b"").strip(b" \0")
        return int(text) if text.isdigit() and len(text) < 9 else 0
