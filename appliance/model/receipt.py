"""What the hub says about a parcel and about each instance in it. The wire form is JSON; docs/protocol.md shows it.

Only a receipt makes anything delivered (DESIGN invariant 2), and only when its digest is the one the unit computed
when the modality sent the instance.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

# JSON numbers have no end; a database's do. Later ones than these no clock and no file reaches.
Time = Annotated[int, Meta(ge=0, le=1 << 53)]  # Unix milliseconds
Count = Annotated[int, Meta(ge=0, le=1 << 62)]


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """The hub holds this instance, durably, with this digest."""

    sop_instance_uid: str
    digest: str  # SHA-256 of the data set bytes as restored at the hub; 64 hex digits
    held_at: Time  # by the hub's clock
    conflict: bool = False  # the hub also holds other bytes under the same UID; both were kept


class Verdict(StrEnum):
    UNKNOWN = "unknown"  # the hub has no upload and no memory of this parcel
    PARTIAL = "partial"  # an upload is open; not all bytes are here
    CHECKING = "checking"  # all bytes are here and safe; being unpacked
    VERIFIED = "verified"  # every instance is archived; `receipts` has them all
    REFUSED = "refused"  # the bytes are here and can't be used; `reason` says why


class Refusal(StrEnum):
    """Why a parcel was refused, as a word that the unit can act on."""

    DIGEST = "digest"  # the bytes are not those the parcel digest names: send the parcel again
    FORMAT = "format"  # breaks the parcel format: pack anew
    DICTIONARY = "dictionary"  # names a header dictionary the hub lacks: pack anew without
    INSTANCE = "instance"  # an instance did not come back byte-exact: pack anew, plain


class ParcelVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """The hub's answer to `GET /v1/parcels/{sha256}`."""

    parcel: str  # SHA-256 of the parcel's bytes; 64 hex digits
    verdict: Verdict
    offset: Count = 0  # bytes that are durable at the hub
    refusal: Refusal | None = None
    reason: str = ""
    receipts: tuple[Receipt, ...] = ()


class Hello(msgspec.Struct, frozen=True, kw_only=True):
    """The hub's answer to `GET /v1/hello`: who it is, what time it has, and its ceilings."""

    hub: str
    version: str
    site: str
    time: Time
    parcel_bytes_max: Count
    uploads_max: Count
    courier_key: str = ""  # its public key for sticks (docs/protocol.md §Stick); empty: it has none


_Answer = TypeVar("_Answer", bound=msgspec.Struct)


def read_answer(content: bytes, kind: type[_Answer]) -> _Answer | None:
    """What the hub said; None when these bytes are no such answer, whatever else they are."""
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
