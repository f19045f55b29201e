"""Writes a parcel, inside a worker. Holds one block and the headers, never a whole object.

What goes to the front is chosen when all blocks are known: until then they wait in a scratch file.

Deterministic: the bytes depend on the instances, their recorded facts, the dictionary, and the versions of the codecs.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from itertools import accumulate
from typing import BinaryIO, Final, TypeVar

import msgspec
import zstandard

from appliance.compress.codecs import PLAIN, encode_block
from appliance.compress.layout import OPAQUE, Cut, Layout, cut_data_set
from appliance.compress.parcel import (
    BLOCKS_MAX,
    DICTIONARY_MAX,
    FRONT_MAX,
    INSTANCES_MAX,
    NO_DICTIONARY,
    PREAMBLE_BYTES,
    WINDOW_LOG,
    Manifest,
    Preamble,
)
from appliance.compress.previews import Fronts, choose, fronts_of
from appliance.compress.session import Session
from appliance.compress.values import Octets

HEADERS_MAX: Final = 16 << 20  # raw headers after which a parcel is closed: they are held in memory
BYTES_PER_SAMPLE: Final = 24  # of memory that the JPEG 2000 codec may need at its peak
_HEADER_GAIN: Final = 32  # what headers shrink by at least, to foresee a parcel's size
_LEVEL: Final = 19
_COPY: Final = 1 << 20


class PackRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is the same for the whole parcel, and where to close it."""

    study: str
    site: str
    priority: str
    parcel_bytes: int
    parcel_instances: int
    memory_bytes: int


class PackItem(msgspec.Struct, frozen=True, kw_only=True):
    """One instance to pack; its file's descriptor is beside it."""

    data_offset: int
    bytes: int
    digest: Octets
    transfer_syntax_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    received_at: int
    calling_ae: str
    plain: bool
    keep_header: bool


class PackResult(msgspec.Struct, frozen=True, kw_only=True):
    """How many of the instances are in, and which codec won how many blocks."""

    instances: int
    codecs: dict[str, int]


class SourceFileError(Exception):
    """The file of an instance is shorter than its row says."""


_Value = TypeVar("_Value")


class _Distinct(dict[_Value, int]):
    """Values in the order of their first use, each with its index."""

    def index(self, value: _Value) -> int:
        return self.setdefault(value, len(self))


class ParcelWriter:
    """Builds a parcel: `add` instances while `is_open`, then `finish`."""

    def __init__(self, request: PackRequest, scratch: BinaryIO) -> None:
        self._request = request
        self._scratch = scratch
        self._headers = bytearray()
        self._digests = hashlib.sha256()
        self._syntaxes, self._classes, self._callers = _Distinct[str](), _Distinct[str](), _Distinct[str]()
        self._layouts = _Distinct[Layout]()
        self._items: list[PackItem] = []
        self._cuts: list[Cut] = []
        self._codec: list[int] = []
        self._packed: list[int] = []
        self._fronts: list[Fronts] = []
        self._won: Counter[str] = Counter()
        self._keep: list[int] = []

    @property
    def is_open(self) -> bool:
        """Whether another instance may be added."""
        foreseen = sum(self._packed) + len(self._headers) // _HEADER_GAIN
        return (
            len(self._items) < min(self._request.parcel_instances, INSTANCES_MAX)
            and foreseen < self._request.parcel_bytes
            and len(self._headers) < HEADERS_MAX
            and len(self._codec) < BLOCKS_MAX // 4
        )

    def add(self, item: PackItem, source: BinaryIO) -> None:
        """Packs one instance; `source` is its file. Raises SourceFileError."""
        source.seek(item.data_offset)
        samples_max = self._request.memory_bytes // BYTES_PER_SAMPLE
        cut = Cut(0, item.bytes, 0)
        if not item.plain:
            cut = cut_data_set(source, item.transfer_syntax_uid, item.bytes, samples_max)
        source.seek(item.data_offset)
        self._headers += _read(source, cut.prefix)
        for size in cut.layout.blocks(cut.body):
            self._add_block(_read(source, size), cut.layout, plain=item.plain)
        self._headers += _read(source, cut.suffix)
        if item.keep_header and 0 < cut.prefix <= DICTIONARY_MAX and cut.body:
            self._keep.append(len(self._items))
        self._items.append(item)
        self._cuts.append(cut)
        self._digests.update(item.digest)

    def _add_block(self, block: bytes, layout: Layout, *, plain: bool) -> None:
        codec, payload = (PLAIN, block) if plain else encode_block(block, layout)
        self._scratch.write(payload)
        self._codec.append(codec.id)
        self._packed.append(len(payload))
        self._fronts.append(fronts_of(codec, payload))
        self._won[codec.name] += 1

    def finish(self, out: BinaryIO, dictionary: bytes | None) -> PackResult:
        """Writes the parcel to `out`, which is empty."""
        early = choose(self._fronts, min(sum(self._packed), FRONT_MAX))
        manifest = self._manifest(early).encode()
        out.seek(PREAMBLE_BYTES)
        head = _write_head(out, (manifest, self._headers), dictionary)
        preamble = Preamble(
            head=head,
            manifest=len(manifest),
            head_raw=len(manifest) + len(self._headers),
            blocks=sum(self._packed),
            dictionary=hashlib.sha256(dictionary).digest() if dictionary else NO_DICTIONARY,
            front=sum(early),
        )
        self._write_blocks(out, early)
        out.seek(0)
        out.write(preamble.encode())
        _write_trailer(out)
        return PackResult(instances=len(self._items), codecs=dict(self._won))

    def _write_blocks(self, out: BinaryIO, early: list[int]) -> None:
        """The first bytes of some, then what is left of each."""
        firsts = early or [0] * len(self._packed)
        starts = [0, *accumulate(self._packed)]
        for start, first in zip(starts, firsts, strict=False):
            self._copy(out, start, start + first)
        for start, end, first in zip(starts, starts[1:], firsts, strict=False):
            self._copy(out, start + first, end)

    def _copy(self, out: BinaryIO, start: int, end: int) -> None:
        self._scratch.seek(start)
        for at in range(start, end, _COPY):
            out.write(self._scratch.read(min(_COPY, end - at)))

    def _manifest(self, early: list[int]) -> Manifest:
        items, cuts = self._items, self._cuts
        arrivals = [item.received_at for item in items]
        return Manifest(
            study=self._request.study,
            site=self._request.site,
            priority=self._request.priority,
            digests=self._digests.hexdigest(),
            syntax=[self._syntaxes.index(item.transfer_syntax_uid) for item in items],
            sop_class=[self._classes.index(item.sop_class_uid) for item in items],
            caller=[self._callers.index(item.calling_ae) for item in items],
            layout=[self._layouts.index(cut.layout if cut.body else OPAQUE) for cut in cuts],
            syntaxes=list(self._syntaxes),
            sop_classes=list(self._classes),
            callers=list(self._callers),
            layouts=list(self._layouts),
            keep=self._keep,
            uid=[item.sop_instance_uid for item in items],
            received_at=[at - before for at, before in zip(arrivals, [0, *arrivals], strict=False)],
            prefix=[cut.prefix for cut in cuts],
            body=[cut.body for cut in cuts],
            suffix=[cut.suffix for cut in cuts],
            codec=self._codec,
            packed=self._packed,
            early=early,
        )


def head_parameters(size: int) -> zstandard.ZstdCompressionParameters:
    """How heads of `size` raw bytes are compressed: hard, in memory that is bounded whatever the size."""
    full = zstandard.ZstdCompressionParameters.from_level(_LEVEL, source_size=size + DICTIONARY_MAX)
    return zstandard.ZstdCompressionParameters.from_level(
        _LEVEL,
        source_size=size + DICTIONARY_MAX,
        window_log=min(full.window_log, WINDOW_LOG),
        chain_log=min(full.chain_log, WINDOW_LOG),
        hash_log=min(full.hash_log, WINDOW_LOG - 2),
    )


def _write_head(out: BinaryIO, parts: tuple[bytes, bytearray], dictionary: bytes | None) -> int:
    """One zstd frame of `parts`; returns its length."""
    size = sum(len(part) for part in parts)
    prior = None
    if dictionary:
        prior = zstandard.ZstdCompressionDict(dictionary, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    compressor = zstandard.ZstdCompressor(compression_params=head_parameters(size), dict_data=prior)
    frame = compressor.compressobj(size=size)
    start = out.tell()
    for part in parts:
        for at in range(0, len(part), _COPY):
            out.write(frame.compress(part[at : at + _COPY]))
    out.write(frame.flush())
    return out.tell() - start


def _write_trailer(out: BinaryIO) -> None:
    out.seek(0)
    digest = hashlib.sha256()
    while piece := out.read(_COPY):
        digest.update(piece)
    out.write(digest.digest())
    out.flush()


def _read(source: BinaryIO, size: int) -> bytes:
    data = source.read(size)
    if len(data) != size:
        raise SourceFileError("the file is shorter than its row says")
    return data


def write_parcel(
    session: Session, request: PackRequest, out: BinaryIO, scratch: BinaryIO, dictionary: bytes | None
) -> PackResult:
    """Asks for instances until the parcel is full or there are no more, and writes it."""
    writer = ParcelWriter(request, scratch)
    index = 0
    while writer.is_open and (granted := session.ask(index, None, PackItem)):
        item, (descriptor,) = granted
        with os.fdopen(descriptor, "rb") as source:
            writer.add(item, source)
        index += 1
    return writer.finish(out, dictionary)
