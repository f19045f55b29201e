"""Text of a data set in its character set (PS3.5 6.1, PS3.3 C.12.1.1.2). It never fails: bytes are kept elsewhere.

A term that nobody knows is read as ISO 8859-1; what does not decode becomes U+FFFD.
"""

from __future__ import annotations

import re
from typing import Final

from pydicom.charset import decode_bytes, python_encoding

_DELIMITERS: Final = set(b"\\^=\r\n\t\f")  # each ends an ISO 2022 escape (PS3.5 6.1.2.5.3)
_CONTROL: Final = re.compile(r"[\x00-\x1a\x1c-\x1f\x7f-\x9f]+")
_CONTROL_OF_LINES: Final = re.compile(r"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f-\x9f]+")


def encodings_of(character_set: bytes) -> list[str]:
    """Python's names for a value of Specific Character Set, one at least."""
    terms = character_set.decode("ascii", "replace").strip("\0 ").split("\\")
    return [python_encoding.get(term.strip(), "iso8859") for term in terms] or ["iso8859"]


def decode(value: bytes, encodings: list[str], *, lines: bool = False) -> str:
    """The text without controls and without spaces around it; with `lines`, line breaks and tabs stay."""
    if value.isascii() and (text := value.decode("ascii")).isprintable():  # the same in every character set
        return text.strip()
    try:
        if b"\x1b" in value:
            text = decode_bytes(value, encodings, _DELIMITERS)
        else:
            text = value.decode(encodings[0], "replace")
    except (UnicodeError, LookupError, ValueError):
        text = value.decode("iso8859", "replace")
    controls = _CONTROL_OF_LINES if lines else _CONTROL
    return controls.sub(" ", text).replace("\x1b", "").strip()
