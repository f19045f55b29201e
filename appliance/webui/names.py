"""Texts of peers made fit to show: no control characters, no overrides of writing direction, persons' names in order.

Escaping is Jinja's. What is here keeps a name from hiding or reordering what stands beside it.
"""

from __future__ import annotations

import unicodedata
from typing import Final

_LONGEST: Final = 120
_JOINERS: Final = frozenset("\u200c\u200d")  # scripts of Asia need them
_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})  # controls, formats, halves, private, none


def clean(text: str) -> str:
    """`text` on one line, without characters that are not seen or that change the direction of others."""
    kept = (c if c in _JOINERS or unicodedata.category(c) not in _CATEGORIES else " " for c in text[: 8 * _LONGEST])
    line = " ".join("".join(kept).split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


def person_name(value: str) -> str:
    """A DICOM person name (PS3.5 6.2.1) for reading: `BANDA^GRACE^^MRS` is `BANDA, Grace (Mrs)`; empty when it is.

    The family name stays as it was sent; given names written all in capitals get small letters, so that the two are
    told apart at a glance. Of several representations the first that is not empty counts.
    """
    group = next((part for part in value.split("=") if part.strip("^ ")), "")
    family, given, middle, prefix, suffix = [clean(part) for part in (group.split("^") + [""] * 5)[:5]]
    first = " ".join(_small(part) for part in (given, middle) if part)
    name = ", ".join(part for part in (family, first) if part)
    title = " ".join(_small(part) for part in (prefix, suffix) if part)
    return f"{name} ({title})" if name and title else name or title


def _small(text: str) -> str:
    return text.title() if text.isupper() and len(text) > 1 else text
