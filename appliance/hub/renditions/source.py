"""A Part 10 file taken apart: header, pixel element, what is behind it. Inside a worker; pixels are never read here."""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from typing import BinaryIO, Final

from appliance.errors import DicomError
from appliance.hub.renditions.pixels import Image, image_of
from appliance.hub.renditions.values import NotMadeError, Reason
from appliance.part10.elements import Element, find_pixel_data
from appliance.part10.meta import FileMeta, encode_prefix, read_prefix
from appliance.part10.transfer_syntax import DEFLATED_LITTLE, EXPLICIT_LITTLE, Encoding, encoding_of

HEADER_MAX: Final = 64 << 20
_COPY: Final = 1 << 20


@dataclass(frozen=True)
class Source:
    """`offset`: where the data set begins in the file, of `size` bytes. `pixels` has offsets into the data set."""

    file: BinaryIO
    meta: FileMeta
    offset: int
    size: int
    encoding: Encoding
    pixels: Element | None
    image: Image

    @property
    def header(self) -> bytes:
        """The elements before the pixels."""
        return self._read(0, self.pixels.offset if self.pixels else self.size)

    @property
    def rest(self) -> bytes:
        """The elements behind them."""
        return self._read(self.pixels.value_end, self.size) if self.pixels else b""

    def _read(self, start: int, end: int) -> bytes:
        if end - start > HEADER_MAX:
            raise NotMadeError(Reason.TOO_LARGE)
        self.file.seek(self.offset + start)
        return self.file.read(end - start)


def open_source(file: BinaryIO, scratch: BinaryIO) -> Source:
    """Reads where things are; a deflated data set is inflated into `scratch` first. Raises NotMadeError."""
    file.seek(0)
    try:
        meta, offset = read_prefix(file)
        if meta.transfer_syntax_uid == DEFLATED_LITTLE:
            _inflate(file, offset, scratch, meta)
            return open_source(scratch, scratch)
        encoding = encoding_of(meta.transfer_syntax_uid)
        if encoding.deflated:
            raise NotMadeError(Reason.UNSUPPORTED)
        size = file.seek(0, os.SEEK_END) - offset
        file.seek(offset)
        pixels = find_pixel_data(file, encoding, size)
        file.seek(offset)
        image = image_of(file, encoding, pixels.offset if pixels else size)
    except DicomError as error:
        raise NotMadeError(Reason.DAMAGED) from error
    return Source(file, meta, offset, size, encoding, pixels, image)


def _inflate(file: BinaryIO, offset: int, out: BinaryIO, meta: FileMeta) -> None:
    """PS3.5 A.5: RFC 1951 without a head. The limit of file sizes is that of what a small file may claim."""
    out.write(encode_prefix(FileMeta(meta.sop_class_uid, meta.sop_instance_uid, EXPLICIT_LITTLE)))
    file.seek(offset)
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        while not stream.eof and (piece := stream.unconsumed_tail or file.read(_COPY)):
            out.write(stream.decompress(piece, _COPY))
    except zlib.error as error:
        raise NotMadeError(Reason.DAMAGED) from error
    if not stream.eof:
        raise NotMadeError(Reason.DAMAGED)
    out.flush()
