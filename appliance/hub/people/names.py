"""Names that people log in with: which are taken, and how two are compared. Pure."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import Final

LONGEST: Final = 40
_NAME: Final = re.compile(rf"[^\W_][\w .'@-]{{0,{LONGEST - 1}}}")


def clean_name(text: str) -> str | None:
    """The name as it is shown, spaces made single; None when it is none."""
    name = " ".join(unicodedata.normalize("NFC", text).split())
    return name if _NAME.fullmatch(name) else None


def name_key(text: str) -> str:
    """What is compared: without case, and whatever way its letters are coded."""
    return unicodedata.normalize("NFKC", " ".join(text[: 4 * LONGEST].split())).casefold()[:160]


def name_digest(text: str) -> bytes:
    """What is kept of a name that somebody tried."""
    return hashlib.sha256(name_key(text).encode("utf-8", "replace")).digest()
