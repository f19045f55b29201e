"""Reads a parcel, inside a worker: checks every claim, then writes the data sets one behind the other into a pipe.

Holds one block, never a whole object. What it says of the instances is checked outside by SHA-256.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import IO, Final, Protocol, cast

import msgspec
import zstandard

from appliance.compress.codecs import decode_block
from appliance.compress.faults import ParcelTooLargeError
from appliance.compress.parcel import (
    PREAMBLE_BYTES,
    WINDOW_LOG,
    Entry,
    Manifest,
    Preamble,
    entries,
    read_manifest,
    read_preamble,
)
from appliance.compress.session import PoolGoneError, Session
from appliance.errors import ParcelError

_COPY: Final = 1 << 20


class UnpackRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`restored_bytes_max`: the most bytes that all data sets together may have."""

    restored_bytes_max: int


class ParcelFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Told before the first instance."""

    study: str
    site: str
    priority: str
    digests: bytes  # SHA-256 of the instances' digests
    instances: int


class InstanceFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Told before each instance; `bytes` of its data set then come through the pipe."""

    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    calling_ae: str
    received_at: int
    bytes: int
    header_bytes: int
    keep_header: bool


class _Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


class _Window:
    """A part of a file, read without moving the file's position."""

    def __init__(self, descriptor: int, start: int, end: int) -> None:
        self._descriptor, self._at, self._end = descriptor, start, end

    def read(self, size: int = -1, /) -> bytes:
        left = self._end - self._at
        data = os.pread(self._descriptor, left if size < 0 else min(size, left), self._at)
        self._at += len(data)
        return data


class _Blocks:
    """The payloads of a parcel, one after the other, each put together of its part in the front and its rest."""

    def __init__(self, descriptor: int, preamble: Preamble, manifest: Manifest) -> None:
        start = PREAMBLE_BYTES + preamble.head
        self._front = _Window(descriptor, start, preamble.preview_bytes)
        self._rests = _Window(descriptor, preamble.preview_bytes, start + preamble.blocks)
        self._manifest = manifest

    def payload(self, block: int) -> bytes:
        """Call it for each block in order."""
        front = self.front(block)
        return front + self._rests.read(self._manifest.packed[block] - len(front))

    def front(self, block: int) -> bytes:
        """The part in the front alone. Call it, or `payload`, for each block in order."""
        return self._front.read(self._manifest.early[block] if self._manifest.early else 0)


@dataclass(frozen=True)
class OpenParcel:
    """A parcel whose manifest was read and checked; `head` stands at the first prefix, `blocks` at the first block."""

    preamble: Preamble
    manifest: Manifest
    head: _Readable
    blocks: _Blocks


def open_parcel(descriptor: int, dictionary: bytes | None) -> OpenParcel:
    """Raises ParcelError."""
    return open_part(descriptor, os.fstat(descriptor).st_size, dictionary)


def open_part(descriptor: int, length: int, dictionary: bytes | None) -> OpenParcel:
    """The same of a parcel of `length` bytes, of which the whole head is there at least. Raises ParcelError."""
    preamble = read_preamble(os.pread(descriptor, PREAMBLE_BYTES, 0), length)
    head = _inflated(_Window(descriptor, PREAMBLE_BYTES, PREAMBLE_BYTES + preamble.head), dictionary)
    manifest = read_manifest(exactly(head, preamble.manifest), preamble)
    return OpenParcel(preamble, manifest, head, _Blocks(descriptor, preamble, manifest))


def _inflated(source: _Window, dictionary: bytes | None) -> _Readable:
    prior = None
    if dictionary:
        prior = zstandard.ZstdCompressionDict(dictionary, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    decompressor = zstandard.ZstdDecompressor(dict_data=prior, max_window_size=1 << WINDOW_LOG)
    reader: _Readable = decompressor.stream_reader(cast(IO[bytes], source))  # it calls nothing but read
    return reader


def exactly(source: _Readable, size: int) -> bytes:
    """`size` bytes of it. Raises ParcelError when there are fewer."""
    pieces = []
    left = size
    while left:
        try:
            piece = source.read(min(left, _COPY))
        except zstandard.ZstdError as error:
            raise ParcelError("The parcel's head is damaged") from error
        if not piece:
            raise ParcelError("The parcel's head is shorter than its preamble says")
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


class Sink:
    """The pipe to the pool."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, data: bytes) -> None:
        """Writes it all."""
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]


def restore_instance(parcel: OpenParcel, entry: Entry, sink: Sink) -> None:
    """Writes the instance's data set; call it for each entry in order. Raises ParcelError, CodecError."""
    _copy(parcel.head, entry.prefix, sink)
    block = entry.first_block
    for size in entry.layout.blocks(entry.body):
        payload = parcel.blocks.payload(block)
        sink.write(decode_block(parcel.manifest.codec[block], payload, entry.layout, size))
        block += 1
    _copy(parcel.head, entry.suffix, sink)


def check_end(parcel: OpenParcel) -> None:
    """After the last instance: the head holds nothing more. Raises ParcelError."""
    try:
        more = parcel.head.read(1)
    except zstandard.ZstdError as error:
        raise ParcelError("The parcel's head is damaged") from error
    if more:
        raise ParcelError("The parcel's head is longer than its preamble says")


def _copy(source: _Readable, size: int, sink: Sink) -> None:
    for at in range(0, size, _COPY):
        sink.write(exactly(source, min(_COPY, size - at)))


def read_parcel(
    session: Session, request: UnpackRequest, descriptor: int, sink: Sink, dictionary: bytes | None
) -> None:
    """Tells the pool what is in the parcel and sends it, as it grants each. Raises ParcelError, CodecError."""
    parcel = open_parcel(descriptor, dictionary)
    manifest = parcel.manifest
    total = sum(manifest.prefix) + sum(manifest.body) + sum(manifest.suffix)
    if total > request.restored_bytes_max:
        raise ParcelTooLargeError(f"The parcel claims to hold {total} bytes, more than is accepted")
    _grant(session, -1, _facts_of(manifest))
    for index, entry in enumerate(entries(manifest)):
        _grant(session, index, _instance_facts(entry))
        restore_instance(parcel, entry, sink)
    check_end(parcel)


def _grant(session: Session, index: int, facts: object) -> None:
    if session.ask(index, facts, type(None)) is None:
        raise PoolGoneError


def _facts_of(manifest: Manifest) -> ParcelFacts:
    return ParcelFacts(
        study=manifest.study,
        site=manifest.site,
        priority=manifest.priority,
        digests=bytes.fromhex(manifest.digests),
        instances=len(manifest.uid),
    )


def _instance_facts(entry: Entry) -> InstanceFacts:
    return InstanceFacts(
        sop_instance_uid=entry.sop_instance_uid,
        sop_class_uid=entry.sop_class_uid,
        transfer_syntax_uid=entry.transfer_syntax_uid,
        calling_ae=entry.calling_ae,
        received_at=entry.received_at,
        bytes=entry.bytes,
        header_bytes=entry.prefix,
        keep_header=entry.keep,
    )
