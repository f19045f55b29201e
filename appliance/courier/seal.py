"""Who wrote what is on a stick: a sealed file has a line in clear, its HMAC by the site's secret, and an age file.

Both ends have the SHA-256 of the site's secret, and nobody else: so the hub knows that a list is this site's, and the
unit that receipts are the hub's. The line holds the digest of the age file behind it: the HMAC covers every byte.
"""

from __future__ import annotations

import hashlib
import hmac
from enum import StrEnum
from typing import Final, TypeVar

import msgspec

from appliance.courier.faults import StickRefusedError

SEALED_MAX: Final = 64 << 20  # bytes of a sealed file; what is longer is not read
_LABEL: Final = b"appliance-courier/1 "
_HEX: Final = 64


class Kind(StrEnum):
    LIST = "list"  # from the unit: what is on the stick
    RECEIPTS = "receipts"  # from the hub: what became of it


class Cover(msgspec.Struct, frozen=True, kw_only=True):
    """What the line of every sealed file says first."""

    format: int = 1
    kind: Kind
    site: str
    at: int  # Unix ms by the writer's clock
    body_bytes: int
    body_sha256: str


_Cover = TypeVar("_Cover", bound=Cover)


def site_key(secret_digest: bytes, kind: Kind) -> bytes:
    """The key of the HMAC: `secret_digest` is the SHA-256 of the part of the site's secret behind the dot."""
    return hmac.digest(secret_digest, _LABEL + kind.encode("ascii"), "sha256")


def digest_of_secret(secret: str) -> bytes:
    """SHA-256 of the secret, as the hub keeps it, from a unit's `SITE.SECRET`."""
    return hashlib.sha256(secret.partition(".")[2].rstrip("=").encode("ascii", "replace")).digest()


def sealed(cover: Cover, body: bytes, key: bytes) -> bytes:
    """The whole file. `cover.body_bytes` and `cover.body_sha256` are those of `body`."""
    line = msgspec.json.encode(cover)
    return b"\n".join((line, _hmac(line, key), body))


def facts_of(body: bytes) -> dict[str, object]:
    """`body_bytes` and `body_sha256`."""
    return {"body_bytes": len(body), "body_sha256": hashlib.sha256(body).hexdigest()}


def unsealed(content: bytes, kind: type[_Cover], key: bytes, site: str) -> tuple[_Cover, bytes]:
    """The cover and the body, each byte of them as it was written by who has the key. Raises StickRefusedError."""
    line, _, rest = content.partition(b"\n")
    mark, body = rest[:_HEX], rest[_HEX + 1 :]
    if rest[_HEX : _HEX + 1] != b"\n" or not hmac.compare_digest(mark, _hmac(line, key)):
        raise StickRefusedError(
            f"It is not sealed with the secret that site {site} has now: it was changed, or is of another site or time"
        )
    try:
        cover = msgspec.json.decode(line, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise StickRefusedError("It is of another version of this program") from error
    if cover.format != 1 or cover.site != site:
        raise StickRefusedError("It is of another site, or of another version of this program")
    if facts_of(body) != {"body_bytes": cover.body_bytes, "body_sha256": cover.body_sha256}:
        raise StickRefusedError("It was changed behind its first two lines")
    return cover, body


def _hmac(line: bytes, key: bytes) -> bytes:
    return hmac.digest(key, line, "sha256").hex().encode("ascii")
