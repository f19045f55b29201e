"""What the pixels of a file are, frame by frame, whatever they are encoded in (PS3.5 8.2, A.4). Inside a worker."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, Final

import numpy as np
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import iter_pixels

from appliance.compress.codecs.base import IntArray
from appliance.compress.layout import Layout
from appliance.hub.renditions.values import NotMadeError, Reason
from appliance.part10.elements import walk
from appliance.part10.transfer_syntax import Encoding

SAMPLES: Final = 0x00280002
PHOTOMETRIC: Final = 0x00280004
PLANAR: Final = 0x00280006
LOSSY: Final = 0x00282110
LOSSY_RATIO: Final = 0x00282112
LOSSY_METHOD: Final = 0x00282114
_FRAMES, _ROWS, _COLUMNS = 0x00280008, 0x00280010, 0x00280011
_ALLOCATED, _STORED, _SIGNED = 0x00280100, 0x00280101, 0x00280103
_NUMBERS: Final = (SAMPLES, _ROWS, _COLUMNS, _ALLOCATED, _STORED, _SIGNED)
_WANTED: Final = frozenset({*_NUMBERS, _FRAMES, PHOTOMETRIC, PLANAR, LOSSY, LOSSY_RATIO, LOSSY_METHOD})
_VALUE_MAX: Final = 1024


class Image:
    """The Image Pixel attributes of a header (PS3.3 C.7.6.3); absent or malformed numbers are 0."""

    def __init__(self, values: Mapping[int, bytes], encoding: Encoding) -> None:
        self._values, self._order = values, encoding.byte_order
        self.samples, self.rows, self.columns, self.allocated, self.stored, signed = map(self._number, _NUMBERS)
        self.signed = signed == 1
        frames = self.text(_FRAMES)
        self.frames = int(frames) if frames.isdigit() and len(frames) < 9 else 1
        self.photometric = self.text(PHOTOMETRIC)
        self.lossy = self.text(LOSSY) == "01"

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a frame: (rows, columns) or (rows, columns, samples)."""
        return (self.rows, self.columns) if self.samples == 1 else (self.rows, self.columns, self.samples)

    @property
    def native_bytes(self) -> int:
        """Bytes of all frames in a native transfer syntax."""
        return self.frames * self.rows * self.columns * self.samples * self.allocated // 8

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of a sample, little endian. Raises NotMadeError for those that are not whole bytes."""
        if self.allocated not in {8, 16, 32}:
            raise NotMadeError(Reason.UNSUPPORTED)
        return np.dtype(f"<{'i' if self.signed else 'u'}{self.allocated // 8}")

    @property
    def layout(self) -> Layout:
        """The same for the encoder."""
        return Layout(
            allocated=self.allocated,
            rows=self.rows,
            columns=self.columns,
            samples=self.samples,
            stored=self.stored,
            signed=self.signed,
        )

    def has(self, tag: int) -> bool:
        """Whether the header states this attribute."""
        return bool(self._values.get(tag))

    def text(self, tag: int) -> str:
        """Its value without padding; empty when there is none."""
        return self._values.get(tag, b"").strip(b" \0").decode("ascii", "replace")

    def _number(self, tag: int) -> int:
        value = self._values.get(tag, b"")
        return int(struct.unpack(self._order + "H", value)[0]) if len(value) == 2 else 0


def image_of(stream: BinaryIO, encoding: Encoding, size: int) -> Image:
    """Of the header of `size` bytes at which `stream` stands. Raises DicomError."""
    base, values = stream.tell(), {}
    for element in walk(stream, encoding, size):
        if element.tag in _WANTED and element.value_end - element.value_offset <= _VALUE_MAX:
            stream.seek(base + element.value_offset)
            values[element.tag] = stream.read(element.value_end - element.value_offset)
    return Image(values, encoding)


def frames_of(stream: BinaryIO, transfer_syntax_uid: str, image: Image) -> Iterator[IntArray]:
    """The frames of a Part 10 file, each of `image.shape` in `image.dtype`, one in memory at a time; colours as they
    are stored, but for the transform of JPEG 2000, which is undone. Raises NotMadeError, MemoryError.
    """
    dtype = image.dtype
    if not is_decodable(transfer_syntax_uid):
        raise NotMadeError(Reason.NO_DECODER)
    count = 0
    for array in _decoded(stream):
        count += 1
        if array.shape != image.shape or array.dtype.itemsize != dtype.itemsize or count > image.frames:
            raise NotMadeError(Reason.DAMAGED)
        yield np.ascontiguousarray(array.astype(dtype))
    if count != image.frames:
        raise NotMadeError(Reason.DAMAGED)


def _decoded(stream: BinaryIO) -> Iterator[IntArray]:
    try:
        yield from iter_pixels(stream, raw=True, correct_unused_bits=False)  # they may hold an overlay
    except (MemoryError, OSError):
        raise
    except Exception as error:  # whatever a decoder raises for bytes that are not for it
        raise NotMadeError(Reason.DAMAGED) from error


def is_decodable(transfer_syntax_uid: str) -> bool:
    """Whether there is a decoder for it here."""
    try:
        return bool(get_decoder(transfer_syntax_uid).is_available)
    except NotImplementedError:
        return False


def facts_of(image: Image) -> tuple[int, ...]:
    """What must be the same before and after."""
    return (*image.shape, image.frames, image.allocated, image.stored, image.signed)
