"""Writes a Part 10 file in another transfer syntax, and proves that its pixels are those of the source. In a worker.

One frame is in memory at a time. Native pixels go through as bytes; encapsulated ones are decoded by pydicom.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from typing import BinaryIO, Final

from appliance.compress.codecs.base import CodecError, IntArray
from appliance.compress.codecs.jpeg2000 import encode_image, fits_stored
from appliance.errors import DicomError
from appliance.hub.renditions.colours import changes_of, colours_of
from appliance.hub.renditions.headers import Way, head, rewritten, swapped
from appliance.hub.renditions.pixels import facts_of, frames_of
from appliance.hub.renditions.source import Source, open_source
from appliance.hub.renditions.values import NotMadeError, Reason
from appliance.part10.elements import PIXEL_DATA, UNDEFINED, Element
from appliance.part10.meta import FileMeta, encode_prefix
from appliance.part10.transfer_syntax import JPEG_2000_LOSSLESS, NATIVE, Encoding, encoding_of

_COPY: Final = 1 << 20
_NATIVE_MAX: Final = 0xFFFFFFFE  # bytes that a value of known length may have
_FLOATS: Final = {0x7FE00008: "OF", 0x7FE00009: "OD"}
_WORDS: Final = {"OF": 4, "OD": 8}
_ITEM: Final = struct.Struct("<HHL")
_ITEM_TAG: Final = (0xFFFE, 0xE000)
_DELIMITER: Final = _ITEM.pack(0xFFFE, 0xE0DD, 0)


def make(file: BinaryIO, scratch: BinaryIO, out: BinaryIO, target: str) -> None:
    """From `file` to `out`, which is empty, as `scratch` is. Raises NotMadeError, MemoryError, OSError."""
    source = open_source(file, scratch)
    try:
        digest = _compressed(source, out) if target == JPEG_2000_LOSSLESS else _native(source, out, target)
        out.flush()
        made = open_source(out, scratch)
    except (DicomError, struct.error) as error:
        raise NotMadeError(Reason.DAMAGED) from error
    told = (made.meta.transfer_syntax_uid, facts_of(made.image), digest_of(made))
    if told != (target, facts_of(source.image), digest):
        raise NotMadeError(Reason.CHANGED)


def digest_of(made: Source) -> bytes:
    """SHA-256 of all samples of a file that was made, as native little endian bytes; of nothing without pixels."""
    digest = hashlib.sha256()
    if made.pixels is None:
        return digest.digest()
    if made.pixels.undefined:
        for frame in frames_of(made.file, made.meta.transfer_syntax_uid, made.image):
            digest.update(frame.data)
        return digest.digest()
    for piece in _value(made, made.pixels):
        digest.update(piece)
    return digest.digest()


def _start(source: Source, out: BinaryIO, target: str) -> None:
    meta = FileMeta(source.meta.sop_class_uid, source.meta.sop_instance_uid, target)
    out.write(encode_prefix(meta))


def _way(source: Source, target: Encoding) -> Way:
    return Way(source.encoding, target, source.image.signed)


def _native(source: Source, out: BinaryIO, target: str) -> bytes:
    """Writes Explicit or Implicit VR Little Endian; the digest of the samples."""
    encoding = encoding_of(target)
    _start(source, out, target)
    if source.pixels is None:
        out.write(rewritten(source.header, _way(source, encoding)))
        return hashlib.sha256().digest()
    if source.meta.transfer_syntax_uid in NATIVE:
        digest = _copied(source, source.pixels, out, encoding)
    else:
        digest = _decoded(source, out, encoding)
    out.write(rewritten(source.rest, _way(source, encoding)))
    return digest


def _copied(source: Source, pixels: Element, out: BinaryIO, target: Encoding) -> bytes:
    """Native pixels as they are, big endian words turned."""
    if pixels.undefined:
        raise NotMadeError(Reason.DAMAGED)
    vr = _FLOATS.get(pixels.tag) or (pixels.vr if pixels.vr == "OB" else "OW")
    width = _WORDS.get(vr, max(2, source.image.allocated // 8)) if source.encoding.big and vr != "OB" else 1
    out.write(rewritten(source.header, _way(source, target)))
    out.write(head(pixels.tag, vr, pixels.value_end - pixels.value_offset, target))
    digest = hashlib.sha256()
    for piece in _value(source, pixels):
        turned = swapped(piece, width)
        digest.update(turned)
        out.write(turned)
    return digest.digest()


def _value(source: Source, pixels: Element) -> Iterator[bytes]:
    """The value of native pixels, in pieces of whole words."""
    source.file.seek(source.offset + pixels.value_offset)
    left = pixels.value_end - pixels.value_offset
    while left:
        piece = source.file.read(min(left, _COPY))
        if not piece:
            raise NotMadeError(Reason.DAMAGED)
        left -= len(piece)
        yield piece


def _decoded(source: Source, out: BinaryIO, target: Encoding) -> bytes:
    """Encapsulated pixels as native ones, colour by pixel."""
    image = source.image
    changes = changes_of(source, colours_of(image, encapsulated=True))
    if not 0 < image.native_bytes <= _NATIVE_MAX:
        raise NotMadeError(Reason.TOO_LARGE if image.native_bytes else Reason.DAMAGED)
    padded = image.native_bytes + image.native_bytes % 2
    out.write(rewritten(source.header, _way(source, target), changes))
    out.write(head(PIXEL_DATA, "OB" if image.allocated == 8 and target.explicit else "OW", padded, target))
    digest = hashlib.sha256()
    for frame in frames_of(source.file, source.meta.transfer_syntax_uid, image):
        digest.update(frame.data)
        out.write(frame.data)
    padding = b"\0" * (padded - image.native_bytes)
    digest.update(padding)
    out.write(padding)
    return digest.digest()


def _compressed(source: Source, out: BinaryIO) -> bytes:
    """Writes JPEG 2000 Lossless (PS3.5 A.4.4), an item a frame; the digest of the samples."""
    image, target = source.image, encoding_of(JPEG_2000_LOSSLESS)
    if source.pixels is None or source.pixels.tag != PIXEL_DATA:
        raise NotMadeError(Reason.NO_IMAGE)
    if image.allocated not in {8, 16}:
        raise NotMadeError(Reason.UNSUPPORTED)
    colours = colours_of(image, encapsulated=source.pixels.undefined)
    mct = colours == "RGB"
    changes = changes_of(source, "YBR_RCT" if mct else colours)
    _start(source, out, JPEG_2000_LOSSLESS)
    out.write(rewritten(source.header, _way(source, target), changes))
    out.write(head(PIXEL_DATA, "OB", UNDEFINED, target) + _ITEM.pack(*_ITEM_TAG, 0))
    digest = hashlib.sha256()
    for frame in frames_of(source.file, source.meta.transfer_syntax_uid, image):
        digest.update(frame.data)
        codestream = _encoded(frame, source, mct=mct)
        out.write(_ITEM.pack(*_ITEM_TAG, len(codestream)) + codestream)
    out.write(_DELIMITER + rewritten(source.rest, _way(source, target)))
    return digest.digest()


def _encoded(frame: IntArray, source: Source, *, mct: bool) -> bytes:
    """The codestream, at the precision of Bits Stored."""
    layout = source.image.layout
    if not fits_stored(frame, layout):
        raise NotMadeError(Reason.BITS)
    try:
        codestream = encode_image(frame, layout, mct=mct)
    except CodecError as error:
        raise NotMadeError(Reason.UNSUPPORTED) from error
    if codestream is None:
        raise NotMadeError(Reason.UNSUPPORTED)
    return codestream + b"\0" * (len(codestream) % 2)
