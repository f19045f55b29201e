"""Until when a certificate is good. The standard library loads certificates but does not say."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from datetime import UTC, datetime

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----")
_SEQUENCE, _UTC_TIME, _GENERALIZED_TIME = 0x30, 0x17, 0x18


def expiry(pem: str) -> int:
    """`notAfter` of the first certificate of a PEM text (RFC 5280 4.1.2.5), in Unix ms. Raises ValueError."""
    found = _PEM.search(pem)
    if not found:
        raise ValueError("there is no certificate in it")
    certificate = _first(base64.b64decode(found.group(1)))
    for tag, value in _elements(_first(certificate)):
        times = list(_elements(value)) if tag == _SEQUENCE else []
        if len(times) == 2 and all(kind in {_UTC_TIME, _GENERALIZED_TIME} for kind, _ in times):
            return _unix_ms(*times[1])
    raise ValueError("it has no period of validity")


def _first(der: bytes) -> bytes:
    for _, value in _elements(der):
        return value
    raise ValueError("the certificate is cut off")


def _elements(der: bytes) -> Iterator[tuple[int, bytes]]:
    """The tags and values that stand one after another in DER (X.690); raises ValueError when it is cut off."""
    at = 0
    while at < len(der):
        head = der[at : at + 2]
        if len(head) < 2:
            raise ValueError("the certificate is cut off")
        length, start = head[1], at + 2
        if length & 0x80:
            start += length & 0x7F
            length = int.from_bytes(der[at + 2 : start], "big")
        at = start + length
        if at > len(der):
            raise ValueError("the certificate is cut off")
        yield head[0], der[start:at]


def _unix_ms(tag: int, value: bytes) -> int:
    text = value.decode("ascii")
    if tag == _UTC_TIME:  # two digits of the year; below 50 it is 20xx
        text = ("20" if int(text[:2]) < 50 else "19") + text
    return int(datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp() * 1000)
