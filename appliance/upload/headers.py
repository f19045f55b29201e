"""The headers of tus 1.0.0 as values, encoded and parsed once for both ends.

Parsers are strict and bounded: they raise HeaderError, which the hub answers with 400 and the unit takes for an answer
that is none. Header names are here in the case of the specification; HTTP ignores case.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import Final, NamedTuple

TUS_VERSION: Final = "1.0.0"
EXTENSIONS: Final = ("creation", "checksum", "termination", "expiration")
CHECKSUM_ALGORITHMS: Final = ("sha1", "sha256")
CONTENT_TYPE: Final = "application/offset+octet-stream"

CHECKSUM: Final = "Upload-Checksum"
EXPIRES: Final = "Upload-Expires"
LENGTH: Final = "Upload-Length"
METADATA: Final = "Upload-Metadata"
OFFSET: Final = "Upload-Offset"
RESUMABLE: Final = "Tus-Resumable"
RETRY_AFTER: Final = "Retry-After"

PARCEL_KEY: Final = "parcel"
PRIORITY_KEY: Final = "priority"

LARGEST: Final = (1 << 63) - 1  # what SQLite and every file system can hold
_METADATA_MAX: Final = 4096
_METADATA_PAIRS_MAX: Final = 32
_NUMBER = re.compile(r"[0-9]{1,19}", re.ASCII)
_KEY = re.compile(r"[\x21-\x2b\x2d-\x7e]+", re.ASCII)  # printable ASCII but space and comma
_HEX_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
_DIGEST_SIZES: Final = {"sha1": 20, "sha256": 32}


class HeaderError(ValueError):
    """A header breaks the grammar or a ceiling; the message names the header and never repeats its value."""


class Checksum(NamedTuple):
    """The value of `Upload-Checksum` (tus 1.0 §Checksum)."""

    algorithm: str
    digest: bytes


def parse_number(name: str, value: str | None) -> int:
    """A count of bytes, 0 to 2⁶³−1: `Upload-Offset`, `Upload-Length`. Raises HeaderError, also when it is absent."""
    if value is None or not _NUMBER.fullmatch(value) or int(value) > LARGEST:
        raise HeaderError(f"{name} is not a number of bytes")
    return int(value)


def encode_metadata(pairs: Mapping[str, bytes]) -> str:
    """The value of `Upload-Metadata`; an empty value is written as its key alone. Raises HeaderError for a bad key."""
    for key in pairs:
        if not _KEY.fullmatch(key):
            raise HeaderError(f"{METADATA}: a key may not be empty or hold a space or a comma")
    return ",".join(f"{key} {base64.b64encode(value).decode('ascii')}".rstrip(" ") for key, value in pairs.items())


def parse_metadata(value: str | None) -> dict[str, bytes]:
    """What a client says of an upload; empty when the header is absent. At most 4096 characters and 32 pairs.

    Raises HeaderError for a bad key, a key given twice, or a value that is not base64 (tus 1.0 §Creation).
    """
    if not value:
        return {}
    if len(value) > _METADATA_MAX:
        raise HeaderError(f"{METADATA} is longer than {_METADATA_MAX} characters")
    pairs: dict[str, bytes] = {}
    for pair in value.split(",", _METADATA_PAIRS_MAX):
        key, _, text = pair.strip(" ").partition(" ")
        if not _KEY.fullmatch(key) or key in pairs:
            raise HeaderError(f"{METADATA} has a key that is empty, broken or given twice")
        pairs[key] = _from_base64(METADATA, text)
    return pairs


def parcel_metadata(parcel: str, priority: str) -> str:
    """`Upload-Metadata` of a parcel: its SHA-256 as 64 hex digits, and the word of its study's priority."""
    return encode_metadata({PARCEL_KEY: parcel.encode("ascii"), PRIORITY_KEY: priority.encode("ascii")})


def parse_parcel(pairs: Mapping[str, bytes]) -> str | None:
    """The parcel digest that a client states, 64 lower-case hex digits; None when it gives none. Raises HeaderError."""
    value = pairs.get(PARCEL_KEY)
    if value is None:
        return None
    text = value.decode("ascii", "replace")
    if not _HEX_DIGEST.fullmatch(text):
        raise HeaderError(f"{METADATA}: parcel is not a SHA-256 in hex")
    return text


def encode_checksum(checksum: Checksum) -> str:
    """The value of `Upload-Checksum`."""
    return f"{checksum.algorithm} {base64.b64encode(checksum.digest).decode('ascii')}"


def parse_checksum(value: str) -> Checksum:
    """Raises HeaderError for an algorithm that is not offered, or a digest that is not of its size."""
    algorithm, _, text = value.partition(" ")
    if algorithm not in _DIGEST_SIZES:
        raise HeaderError(f"{CHECKSUM} names an algorithm that is not offered")
    digest = _from_base64(CHECKSUM, text)
    if len(digest) != _DIGEST_SIZES[algorithm]:
        raise HeaderError(f"{CHECKSUM} has a digest of the wrong size")
    return Checksum(algorithm, digest)


def encode_date(unix_ms: int) -> str:
    """An HTTP date (RFC 9110 §5.6.7), as `Upload-Expires` has it; whole seconds."""
    return format_datetime(datetime.fromtimestamp(unix_ms // 1000, UTC), usegmt=True)


def parse_date(name: str, value: str) -> int:
    """Unix milliseconds of an HTTP date. Raises HeaderError."""
    try:
        parsed = parsedate_to_datetime(value[:64])
        return int(parsed.replace(tzinfo=parsed.tzinfo or UTC).timestamp()) * 1000
    except (ValueError, OverflowError, IndexError) as error:
        raise HeaderError(f"{name} is not a date") from error


def parse_retry_after(value: str | None, now_ms: int) -> float | None:
    """Seconds to wait as `Retry-After` asks (RFC 9110 §10.2.3), never below 0; None when it is absent or unreadable.

    `now_ms` is Unix milliseconds by the clock of the answer (its `Date`), for the form that is a date.
    """
    if value is None:
        return None
    if _NUMBER.fullmatch(value):
        return float(value)
    try:
        return max(0.0, (parse_date(RETRY_AFTER, value) - now_ms) / 1000)
    except HeaderError:
        return None


def _from_base64(name: str, text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise HeaderError(f"{name} holds what is not base64") from error
