"""Draws the previews that a part of a parcel holds, inside a worker.

A part is the first bytes of a parcel whose rest is still on the way: nothing proves them yet. So a preview is for the
eye alone, and what is said of an image here is never filed.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Final

import msgspec

from appliance.compress.codecs import BY_ID
from appliance.compress.codecs.base import CodecError
from appliance.compress.faults import ParcelTooLargeError
from appliance.compress.parcel import Entry, entries, manifest_sizes
from appliance.compress.picture import Display, draw
from appliance.compress.read import OpenParcel, Sink, exactly, open_part
from appliance.compress.session import PoolGoneError, Session
from appliance.errors import DicomError
from appliance.model.identity import InstanceIdentity
from appliance.part10.elements import walk
from appliance.part10.identity import read_identity
from appliance.part10.transfer_syntax import Encoding, encoding_of

_LARGEST: Final = 1e9
PNG_MAX: Final = 256 << 10  # bytes; 256 × 256 pixels of three colours are fewer
PREVIEWS_MAX: Final = 64  # drawn by one worker; a next one goes on
_HEADERS_MAX: Final = 128 << 20  # of all instances; ours stop at 16 MiB and one more header
_SMALL_MAX: Final = 1 << 20  # bytes of a block that are read for its preview
_PHOTOMETRIC: Final = 0x00280004
_CENTRE, _WIDTH, _INTERCEPT, _SLOPE = 0x00281050, 0x00281051, 0x00281052, 0x00281053
_SHOWN: Final = frozenset({_PHOTOMETRIC, _CENTRE, _WIDTH, _INTERCEPT, _SLOPE})
_DECIMAL: Final = rb"[+-]?[0-9]{1,12}(?:\.[0-9]{0,16})?(?:[eE][+-]?[0-9]{1,2})?"
_FIRST: Final = re.compile(rb"\s*(" + _DECIMAL + rb")\s*(?:\\.*)?\0?", re.DOTALL)


class ShowRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`length`: of the whole parcel; `have`: its first bytes that are there; `after`: blocks that were drawn before,
    all of those with a lower number.
    """

    length: int
    have: int
    after: int


class PreviewFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Told before each preview; `bytes` of a PNG then come through the pipe."""

    block: int
    frame: int  # of its instance, from 0
    identity: InstanceIdentity
    bytes: int


class ShowResult(msgspec.Struct, frozen=True, kw_only=True):
    """`after`: all blocks with a lower number are done. `complete`: no block of the parcel is left."""

    after: int
    complete: bool


def show_previews(
    session: Session, request: ShowRequest, descriptor: int, sink: Sink, dictionary: bytes | None
) -> ShowResult:
    """Sends each preview that is there and was not drawn before, as the pool grants it. Raises ParcelError."""
    parcel = open_part(descriptor, request.length, dictionary)
    if manifest_sizes(parcel.manifest) > _HEADERS_MAX:
        raise ParcelTooLargeError("The parcel claims longer headers than are looked at")
    room = request.have - parcel.preamble.front_at
    sent = 0
    for entry, prefix in _with_prefixes(parcel):
        for block in _blocks(parcel, entry):
            room -= parcel.manifest.early[block]
            if room < 0 or sent == PREVIEWS_MAX:
                return ShowResult(after=block, complete=False)
            front = parcel.blocks.front(block)
            if block >= request.after and 0 < len(front) <= _SMALL_MAX:
                sent += _sent(session, sink, parcel, entry, prefix, block, front)
    return ShowResult(after=len(parcel.manifest.packed), complete=True)


def _with_prefixes(parcel: OpenParcel) -> Iterator[tuple[Entry, bytes]]:
    for entry in entries(parcel.manifest):
        prefix = exactly(parcel.head, entry.prefix)
        yield entry, prefix
        exactly(parcel.head, entry.suffix)


def _blocks(parcel: OpenParcel, entry: Entry) -> range:
    """Of the instance, those with something in the front."""
    if not parcel.manifest.early:
        return range(0)
    return range(entry.first_block, entry.first_block - (-entry.body // entry.layout.block_bytes))


def _sent(
    session: Session, sink: Sink, parcel: OpenParcel, entry: Entry, prefix: bytes, block: int, front: bytes
) -> bool:
    """False when the block can't be drawn, or is not of the study that the parcel says: what is wrong with it will be
    seen when all of it is there.
    """
    try:
        identity = read_identity(io.BytesIO(prefix), entry.transfer_syntax_uid, len(prefix))
        samples = BY_ID[parcel.manifest.codec[block]].show(front) if identity_fits(identity, parcel, entry) else None
        png = None if samples is None else draw(samples, display_of(prefix, encoding_of(entry.transfer_syntax_uid)))
    except (CodecError, DicomError, KeyError):
        return False
    if png is None or len(png) > PNG_MAX:
        return False
    facts = PreviewFacts(block=block, frame=block - entry.first_block, identity=identity, bytes=len(png))
    if session.ask(block, facts, type(None)) is None:
        raise PoolGoneError
    sink.write(png)
    return True


def identity_fits(identity: InstanceIdentity, parcel: OpenParcel, entry: Entry) -> bool:
    """Whether a header belongs to the instance and the study that the manifest names."""
    told = (parcel.manifest.study, entry.sop_instance_uid)
    return (identity.study_instance_uid, identity.sop_instance_uid) == told


def display_of(header: bytes, encoding: Encoding) -> Display:
    """What the header says of how to show its samples; what it lacks, or can't be read, is left at its default."""
    values: dict[int, bytes] = {}
    try:
        for element in walk(io.BytesIO(header), encoding, len(header)):
            if element.tag > _SLOPE:
                break
            if element.tag in _SHOWN:
                values[element.tag] = header[element.value_offset : element.value_end]
    except DicomError:  # broken off: what came before counts
        pass
    centre, width = _number(values, _CENTRE), _number(values, _WIDTH)
    return Display(
        photometric=values.get(_PHOTOMETRIC, b"").strip(b" \0").decode("ascii", "replace"),
        slope=_number(values, _SLOPE) or 1.0,
        intercept=_number(values, _INTERCEPT) or 0.0,
        window=None if centre is None or width is None else (centre, width),
    )


def _number(values: dict[int, bytes], tag: int) -> float | None:
    """The first of a decimal string's values (PS3.5 6.2); None when there is none, or none that samples may have."""
    found = _FIRST.fullmatch(values.get(tag, b""))
    number = float(found[1]) if found else None
    return number if number is not None and abs(number) < _LARGEST else None
