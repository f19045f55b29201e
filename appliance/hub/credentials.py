"""Site secrets: made, parsed and compared. The hub keeps only their SHA-256.

A secret is 32 random bytes, so a plain hash is enough: there is nothing to guess from, and a slow one would let
strangers use up the hub's CPU.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from typing import Final, NamedTuple

from appliance.hub.index.sites import Site

_BYTES: Final = 32
_BEARER: Final = re.compile(r"[Bb]earer ([a-z0-9][a-z0-9-]{0,31})\.([A-Za-z0-9_-]{43})", re.ASCII)
_NOBODY: Final = bytes(32)


class Credential(NamedTuple):
    """What a request claims: a site, and the digest of the secret that it showed."""

    site: str
    secret_digest: bytes


def new_secret(site: str) -> tuple[str, bytes]:
    """A fresh credential as the unit's secret file has it, `SITE.SECRET`, and the digest that the hub keeps."""
    secret = base64.urlsafe_b64encode(secrets.token_bytes(_BYTES)).rstrip(b"=")
    return f"{site}.{secret.decode('ascii')}", hashlib.sha256(secret).digest()


def parse_bearer(authorization: str | None) -> Credential | None:
    """The credential of an `Authorization` header; None when it is none of ours. Base64 padding may be there."""
    match = _BEARER.fullmatch((authorization or "").rstrip("="))
    if match is None:
        return None
    return Credential(match.group(1), hashlib.sha256(match.group(2).encode("ascii")).digest())


def accepts(site: Site | None, credential: Credential) -> bool:
    """Whether the credential is that of the site, now. An unknown site costs the same time as a wrong secret."""
    kept = site.secret_digest if site else _NOBODY
    same = hmac.compare_digest(kept, credential.secret_digest)
    return same and site is not None and site.revoked_at is None
