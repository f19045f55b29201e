"""From a received Part 10 file to one in JPEG 2000 Lossless and a recipe, and exactly back. Inside a worker.

The recipe is what the new file does not say: the received header and suffix, compressed with the new header as a
zstd dictionary, and the layout of the pixels. It is some hundred bytes where the received header was explicit VR
little endian. Its own SHA-256 is not needed: the caller compares the restored data set with its digest.
"""

from __future__ import annotations

import os
import struct
from typing import BinaryIO, Final

import msgspec
import zstandard

from appliance.compress.codecs.base import CodecError
from appliance.compress.codecs.image import to_array, to_block
from appliance.compress.codecs.jpeg2000 import decode_image, encode_image, fits_stored
from appliance.compress.explicit import to_explicit, value_of
from appliance.compress.layout import BLOCK_MAX, Cut, Layout, cut_data_set
from appliance.compress.read import InstanceFacts, Sink
from appliance.compress.session import PoolGoneError, Session
from appliance.compress.write import BYTES_PER_SAMPLE
from appliance.errors import DicomError, ParcelError
from appliance.part10.elements import PIXEL_DATA, UNDEFINED
from appliance.part10.meta import FileMeta, encode_prefix, read_prefix
from appliance.part10.transfer_syntax import JPEG_2000_LOSSLESS, NATIVE, Encoding, encoding_of

_HEADER_MAX: Final = 4 << 20
_RECIPE_MAX: Final = 8 << 20
_WINDOW_LOG: Final = 23
_LEVEL: Final = 12
_PHOTOMETRIC: Final = 0x00280004
_PLANAR: Final = 0x00280006
_KEPT: Final = frozenset({b"MONOCHROME1", b"MONOCHROME2", b"PALETTE COLOR", b"YBR_FULL", b"RGB"})
_PIXEL_ELEMENT: Final = struct.pack("<HH2sHL", PIXEL_DATA >> 16, PIXEL_DATA & 0xFFFF, b"OB", 0, UNDEFINED)
_ITEM: Final = struct.Struct("<HHL")
_ITEM_TAG: Final = (0xFFFE, 0xE000)
_DELIMITER: Final = _ITEM.pack(0xFFFE, 0xE0DD, 0)


class TranscodeRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`memory_bytes`: the address space that the worker has."""

    memory_bytes: int


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """How to get the received data set back from the transcoded file. As bytes: msgpack in one zstd frame."""

    version: int
    transfer_syntax_uid: str  # as received
    layout: Layout
    frames: int
    dictionary: int  # the first so many bytes of the transcoded data set are the dictionary of `rest`
    prefix: int  # bytes of `rest` that come before the pixels; the others come after
    rest: bytes


def transcode(source: BinaryIO, out: BinaryIO, memory_bytes: int) -> bytes | None:
    """Writes the transcoded file to `out` and returns the recipe; None when the file must stay as it is.

    PS3.5 A.4.4: what stays are pixels that are encapsulated, float, packed in bits, wider than 16 bits, or that use
    bits beyond those stored; and headers in big endian or too broken to be walked.
    """
    source.seek(0)  # the pool's end of this descriptor may stand anywhere
    meta, offset = read_prefix(source)
    size = source.seek(0, os.SEEK_END) - offset
    source.seek(offset)
    cut = cut_data_set(source, meta.transfer_syntax_uid, size, memory_bytes // BYTES_PER_SAMPLE)
    if not _may(cut, meta.transfer_syntax_uid):
        return None
    encoding = encoding_of(meta.transfer_syntax_uid)
    source.seek(offset)
    prefix = source.read(cut.prefix)
    try:
        header = _new_header(prefix, encoding, cut.layout)
        end = _new_end(source, offset, cut, encoding)
    except (DicomError, struct.error):
        return None
    out.write(encode_prefix(FileMeta(meta.sop_class_uid, meta.sop_instance_uid, JPEG_2000_LOSSLESS)))
    out.write(header + _PIXEL_ELEMENT + _ITEM.pack(*_ITEM_TAG, 0))
    source.seek(offset + cut.prefix)
    if not _write_frames(source, out, cut):
        return None
    out.write(_DELIMITER + end)
    if out.tell() >= offset + size:
        return None
    source.seek(offset + cut.prefix + cut.body)
    return _recipe(meta.transfer_syntax_uid, cut, header, prefix + source.read(cut.suffix))


def _may(cut: Cut, transfer_syntax_uid: str) -> bool:
    layout = cut.layout
    return (
        cut.native
        and transfer_syntax_uid in NATIVE
        and layout.allocated in {8, 16}
        and layout.samples in {1, 3}
        and cut.prefix + cut.suffix <= _HEADER_MAX
    )


def _new_header(prefix: bytes, encoding: Encoding, layout: Layout) -> bytes:
    """All elements before the pixels. Raises DicomError when they can't be rewritten or name other colours."""
    received = prefix[: -(12 if encoding.explicit else 8)]  # without the pixel element's tag, VR and length
    photometric = value_of(received, encoding, _PHOTOMETRIC).strip(b" \0")
    if photometric not in _KEPT or (photometric == b"RGB") != layout.rgb:
        raise DicomError("These colours are not transcoded")
    replaced = {_PLANAR: b"\0\0"} if layout.samples == 3 else {}
    if layout.rgb:
        replaced[_PHOTOMETRIC] = b"YBR_RCT "
    return to_explicit(received, encoding, replaced, signed=layout.signed)


def _new_end(source: BinaryIO, offset: int, cut: Cut, encoding: Encoding) -> bytes:
    """All elements after the pixels."""
    source.seek(offset + cut.prefix - 4)
    (value,) = struct.unpack(encoding.byte_order + "L", source.read(4))
    source.seek(offset + cut.prefix + value)
    return to_explicit(source.read(cut.suffix - (value - cut.body)), encoding, {}, signed=cut.layout.signed)


def _write_frames(source: BinaryIO, out: BinaryIO, cut: Cut) -> bool:
    """One item a frame; False when a frame can't be what the header says."""
    for size in cut.layout.blocks(cut.body):
        array = to_array(source.read(size), cut.layout)
        if array is None or not fits_stored(array, cut.layout):
            return False
        codestream = encode_image(array, cut.layout, mct=cut.layout.rgb)
        if codestream is None:
            return False
        codestream += b"\0" * (len(codestream) % 2)
        out.write(_ITEM.pack(*_ITEM_TAG, len(codestream)) + codestream)
    return True


def _recipe(transfer_syntax_uid: str, cut: Cut, header: bytes, rest: bytes) -> bytes:
    recipe = Recipe(
        version=1,
        transfer_syntax_uid=transfer_syntax_uid,
        layout=cut.layout,
        frames=cut.body // cut.layout.block_bytes,
        dictionary=len(header),
        prefix=cut.prefix,
        rest=_compressor(len(rest), header).compress(rest),
    )
    return zstandard.ZstdCompressor().compress(msgspec.msgpack.encode(recipe))


def _compressor(size: int, dictionary: bytes) -> zstandard.ZstdCompressor:
    parameters = zstandard.ZstdCompressionParameters.from_level(
        _LEVEL, source_size=size + len(dictionary), window_log=_WINDOW_LOG
    )
    return zstandard.ZstdCompressor(compression_params=parameters, dict_data=_raw(dictionary))


def _raw(dictionary: bytes) -> zstandard.ZstdCompressionDict:
    return zstandard.ZstdCompressionDict(dictionary, dict_type=zstandard.DICT_TYPE_RAWCONTENT)


def restore(session: Session, source: BinaryIO, recipe_bytes: bytes, sink: Sink) -> None:
    """Sends the received data set through the pipe. Raises ParcelError, CodecError, DicomError."""
    recipe = _read_recipe(recipe_bytes)
    source.seek(0)  # the pool's end of this descriptor may stand anywhere
    meta, offset = read_prefix(source)
    source.seek(offset)
    rest = _rest(recipe, source.read(recipe.dictionary))
    facts = InstanceFacts(
        sop_instance_uid=meta.sop_instance_uid,
        sop_class_uid=meta.sop_class_uid,
        transfer_syntax_uid=recipe.transfer_syntax_uid,
        calling_ae="",
        received_at=0,
        bytes=len(rest) + recipe.frames * recipe.layout.block_bytes,
        header_bytes=recipe.prefix,
        keep_header=False,
    )
    if session.ask(0, facts, type(None)) is None:
        raise PoolGoneError
    sink.write(rest[: recipe.prefix])
    source.seek(offset + recipe.dictionary + len(_PIXEL_ELEMENT))
    _fragment(source)  # the offset table
    for _ in range(recipe.frames):
        sink.write(to_block(decode_image(_fragment(source), recipe.layout), recipe.layout))
    sink.write(rest[recipe.prefix :])


def _read_recipe(data: bytes) -> Recipe:
    try:
        plain = zstandard.ZstdDecompressor(max_window_size=1 << _WINDOW_LOG).stream_reader(data).read(_RECIPE_MAX)
        recipe = msgspec.msgpack.decode(plain, type=Recipe)
    except (zstandard.ZstdError, msgspec.MsgspecError) as error:
        raise ParcelError("The recipe of an archived instance is damaged") from error
    sound = recipe.version == 1 and recipe.layout.rows and 0 < recipe.layout.block_bytes <= BLOCK_MAX
    if not sound or recipe.frames < 0 or not 0 <= recipe.dictionary <= 2 * _HEADER_MAX:
        raise ParcelError("The recipe of an archived instance is not one that is known")
    return recipe


def _rest(recipe: Recipe, dictionary: bytes) -> bytes:
    decompressor = zstandard.ZstdDecompressor(dict_data=_raw(dictionary), max_window_size=1 << _WINDOW_LOG)
    try:
        rest = decompressor.stream_reader(recipe.rest).read(_HEADER_MAX + 1)
    except zstandard.ZstdError as error:
        raise ParcelError("The recipe does not fit its archived instance") from error
    if not recipe.prefix <= len(rest) <= _HEADER_MAX:
        raise ParcelError("The recipe does not fit its archived instance")
    return rest


def _fragment(source: BinaryIO) -> bytes:
    head = source.read(_ITEM.size)
    group, element, length = _ITEM.unpack(head) if len(head) == _ITEM.size else (0, 0, 0)
    if (group, element) != _ITEM_TAG or length > BLOCK_MAX:
        raise CodecError("an archived instance lacks a frame")
    return source.read(length)
