"""The parcel format, version 2, as values: preamble and manifest. docs/protocol.md has it byte by byte.

    preamble (80 bytes) | head: one zstd frame | front | rests | SHA-256 of all before (32 bytes)

The head inflates to the manifest (JSON) and then, instance by instance, its prefix and its suffix. The front has the
first bytes of some blocks, such that each is a small image; the rests have all others, block by block. So any first
part of a parcel is of use. Everything a preamble or a manifest claims is checked against the file's size and the
ceilings here before anything is inflated. Version 1, which has no front, is still read.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Annotated, BinaryIO, Final

import msgspec
from msgspec import Meta

from appliance.compress.layout import BLOCK_MAX, Layout
from appliance.errors import ParcelError

MAGIC: Final = b"\x89PARCEL\n"
VERSION: Final = 2
_WITHOUT_FRONT: Final = 1  # the version before
_PREAMBLE: Final = struct.Struct("<8sHHLQQQQ32s")
PREAMBLE_BYTES: Final = _PREAMBLE.size
TRAILER_BYTES: Final = 32
NO_DICTIONARY: Final = bytes(32)

INSTANCES_MAX: Final = 4096
BLOCKS_MAX: Final = 1_000_000
MANIFEST_MAX: Final = 16 << 20
DICTIONARY_MAX: Final = 1 << 20
FRONT_MAX: Final = (1 << 32) - 1
WINDOW_LOG: Final = 23  # of the head; what a reader must have

Uid = Annotated[str, Meta(pattern=r"^[0-9][0-9.]{0,63}$")]
Text = Annotated[str, Meta(max_length=64)]
Length = Annotated[int, Meta(ge=0, le=1 << 48)]
Index = Annotated[int, Meta(ge=0, le=BLOCKS_MAX)]
Step = Annotated[int, Meta(ge=-(1 << 48), le=1 << 48)]  # milliseconds; the sum of all fits 64 bits


@dataclass(frozen=True, slots=True)
class Preamble:
    """The first 80 bytes: all lengths in bytes."""

    head: int  # packed
    manifest: int
    head_raw: int  # manifest, prefixes and suffixes
    blocks: int
    dictionary: bytes = NO_DICTIONARY  # SHA-256 of the raw-content dictionary of the head
    front: int = 0  # of the blocks, what comes before the rests
    version: int = VERSION

    @property
    def file_bytes(self) -> int:
        """Size of the whole parcel."""
        return PREAMBLE_BYTES + self.head + self.blocks + TRAILER_BYTES

    @property
    def front_at(self) -> int:
        """Where the front begins: with so many bytes one has all facts."""
        return PREAMBLE_BYTES + self.head

    @property
    def preview_bytes(self) -> int:
        """Where the rests begin: with so many bytes one has all previews, too."""
        return self.front_at + self.front

    def encode(self) -> bytes:
        """The bytes."""
        return _PREAMBLE.pack(
            MAGIC,
            self.version,
            0,
            self.front,
            self.head,
            self.manifest,
            self.head_raw,
            self.blocks,
            self.dictionary,
        )


def read_preamble(data: bytes, file_bytes: int) -> Preamble:
    """The preamble of a parcel file of `file_bytes` bytes. Raises ParcelError."""
    if len(data) < PREAMBLE_BYTES or data[:8] != MAGIC:
        raise ParcelError("This is not a parcel")
    _, version, reserved, front, head, manifest, head_raw, blocks, dictionary = _PREAMBLE.unpack(data[:PREAMBLE_BYTES])
    if version not in {_WITHOUT_FRONT, VERSION} or reserved:
        raise ParcelError(f"This parcel has version {version}; only versions up to {VERSION} are known")
    preamble = Preamble(head, manifest, head_raw, blocks, dictionary, front, version)
    if preamble.file_bytes != file_bytes:
        raise ParcelError("The parcel has another size than its preamble says")
    if not 0 < manifest <= min(MANIFEST_MAX, head_raw):
        raise ParcelError("The parcel claims an impossible manifest")
    if front > (0 if version == _WITHOUT_FRONT else blocks):
        raise ParcelError("The parcel claims an impossible front")
    return preamble


def preamble_of(file: BinaryIO) -> Preamble:
    """The preamble of a parcel's file. Raises ParcelError."""
    return read_preamble(os.pread(file.fileno(), PREAMBLE_BYTES, 0), os.fstat(file.fileno()).st_size)


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What is in the parcel. Lists by instance have an entry an instance; `codec` and `packed` an entry a block,
    and so has `early`, unless it is empty: how many of a block's first bytes are in the front.

    `syntax`, `sop_class`, `caller` and `layout` are indexes into the lists of distinct values. `received_at` are
    Unix milliseconds, each but the first as the difference to the one before. `digests` is the SHA-256 of the
    instances' SHA-256 digests, one behind the other: it stands for them all at the price of one.
    """

    study: Uid
    site: Text
    priority: Text
    digests: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
    syntaxes: list[Uid]
    sop_classes: list[Uid]
    callers: list[Text]
    layouts: list[Layout]
    keep: list[Index]  # instances whose prefix the hub keeps as a dictionary
    uid: list[Uid]
    syntax: list[Index]
    sop_class: list[Index]
    caller: list[Index]
    layout: list[Index]
    received_at: list[Step]
    prefix: list[Length]
    body: list[Length]
    suffix: list[Length]
    codec: list[Index]
    packed: list[Length]
    early: list[Length] = []

    def encode(self) -> bytes:
        """JSON, the same for the same values."""
        return msgspec.json.encode(self)


@dataclass(frozen=True, slots=True)
class Entry:
    """One instance of a manifest."""

    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    calling_ae: str
    received_at: int
    keep: bool
    prefix: int
    body: int
    suffix: int
    layout: Layout
    first_block: int

    @property
    def bytes(self) -> int:
        """Size of the data set."""
        return self.prefix + self.body + self.suffix


def read_manifest(data: bytes, preamble: Preamble) -> Manifest:
    """The manifest, every claim of it checked. Raises ParcelError."""
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ParcelError("The parcel's manifest can't be read") from error
    _check_columns(manifest)
    if manifest_sizes(manifest) + len(data) != preamble.head_raw or sum(manifest.packed) != preamble.blocks:
        raise ParcelError("The parcel's manifest disagrees with its preamble")
    if sum(manifest.early) != preamble.front or (manifest.early and preamble.version == _WITHOUT_FRONT):
        raise ParcelError("The parcel's manifest disagrees with its preamble about the front")
    return manifest


def manifest_sizes(manifest: Manifest) -> int:
    """Bytes of all prefixes and suffixes."""
    return sum(manifest.prefix) + sum(manifest.suffix)


def _check_columns(manifest: Manifest) -> None:
    count = len(manifest.uid)
    indexes = (
        (manifest.syntax, manifest.syntaxes),
        (manifest.sop_class, manifest.sop_classes),
        (manifest.caller, manifest.callers),
        (manifest.layout, manifest.layouts),
    )
    columns = [column for column, _ in indexes] + [
        manifest.received_at, manifest.prefix, manifest.body, manifest.suffix
    ]  # fmt: skip
    if not 0 < count <= INSTANCES_MAX or any(len(column) != count for column in columns):
        raise ParcelError("The parcel's manifest has columns of unequal length")
    if any(max(column) >= len(values) for column, values in indexes) or any(i >= count for i in manifest.keep):
        raise ParcelError("The parcel's manifest points at a value that it lacks")
    if not all(_is_sound(layout) for layout in manifest.layouts):
        raise ParcelError("The parcel's manifest describes an impossible image")
    blocks = sum(_blocks(manifest, i) for i in range(count))
    if len(manifest.codec) != blocks or len(manifest.packed) != blocks or blocks > BLOCKS_MAX:
        raise ParcelError("The parcel's manifest has another number of blocks than its instances need")
    if manifest.early and len(manifest.early) != blocks:
        raise ParcelError("The parcel's manifest has columns of unequal length")
    if any(first > whole for first, whole in zip(manifest.early, manifest.packed, strict=False)):
        raise ParcelError("The parcel's manifest puts more of a block to the front than there is")


def _is_sound(layout: Layout) -> bool:
    shape = (layout.rows, layout.columns, layout.samples, layout.stored)
    cells = layout.allocated in {1, 8, 16, 32, 64} and layout.swapped in {1, 2, 4, 8}
    if not cells or any(not 0 <= number < 1 << 16 for number in shape):
        return False
    return 0 < layout.block_bytes <= BLOCK_MAX and (not layout.planar or layout.samples > 1)


def _blocks(manifest: Manifest, index: int) -> int:
    return -(-manifest.body[index] // manifest.layouts[manifest.layout[index]].block_bytes)


def entries(manifest: Manifest) -> Iterator[Entry]:
    """The instances one by one."""
    first = 0
    keep = set(manifest.keep)
    for i, received_at in enumerate(accumulate(manifest.received_at)):
        yield Entry(
            sop_instance_uid=manifest.uid[i],
            sop_class_uid=manifest.sop_classes[manifest.sop_class[i]],
            transfer_syntax_uid=manifest.syntaxes[manifest.syntax[i]],
            calling_ae=manifest.callers[manifest.caller[i]],
            received_at=received_at,
            keep=i in keep,
            prefix=manifest.prefix[i],
            body=manifest.body[i],
            suffix=manifest.suffix[i],
            layout=manifest.layouts[manifest.layout[i]],
            first_block=first,
        )
        first += _blocks(manifest, i)
