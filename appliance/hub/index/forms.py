"""Normal forms: what is compared when attributes are matched. Pure.

A stored value and the value of a question become the same form, so that matching is a comparison of texts. A value that
breaks the rules of its VR has an empty form: nothing but universal matching finds it.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

NO_NUMBER: Final = 1 << 53  # of what has no number; sorts last
_NUMBER_MAX: Final = 10**12
KEY_LENGTH: Final = 256

# Accents alone: marks of Indic, Thai, Arabic or Japanese writing are letters, and stay.
_ACCENTS: Final = re.compile("[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]")
_LETTERS: Final = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "ħ": "h", "ı": "i", "æ": "ae", "œ": "oe", "þ": "th", "ŋ": "n", "ŧ": "t"}
)
_DATE: Final = re.compile(r"(\d{4})(\d{2})(\d{2})|(\d{4})\.(\d{2})\.(\d{2})", re.ASCII)
_TIME: Final = re.compile(r"(\d{2})(?::?(\d{2})(?::?(\d{2})(?:\.(\d{1,6}))?)?)?", re.ASCII)
_INTEGER: Final = re.compile(r"[+-]?\d{1,12}", re.ASCII)


def folded(text: str) -> str:
    """A component group of a name without case, accents, spaces that say nothing, and empty components at the end
    (PS3.5 6.2.1).
    """
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    plain = unicodedata.normalize("NFC", _ACCENTS.sub("", plain)).translate(_LETTERS)
    components = (" ".join(component.split()) for component in plain.split("^"))
    return "^".join(components).rstrip("^")[:KEY_LENGTH]


def name_forms(text: str) -> tuple[str, str, str]:
    """The alphabetic, ideographic and phonetic group of a name, each folded; empty when it is absent."""
    groups = [folded(group) for group in text.split("=")[:3]]
    alphabetic, ideographic, phonetic = groups + [""] * (3 - len(groups))
    return alphabetic, ideographic, phonetic


def text_form(text: str) -> str:
    """Without spaces around it; case stays (PS3.4 C.2.2.2.1)."""
    return text.strip()[:KEY_LENGTH]


def date_form(text: str) -> str:
    """`YYYYMMDD`; the older `YYYY.MM.DD` too (PS3.5 6.2)."""
    found = _DATE.fullmatch(text.strip())
    if not found:
        return ""
    digits = "".join(part for part in found.groups() if part)
    return digits if 1 <= int(digits[4:6]) <= 12 and 1 <= int(digits[6:]) <= 31 else ""


def time_span(text: str) -> tuple[str, str]:
    """The first and the last microsecond, as `HHMMSSffffff`, of the time that is stated as far as it is stated.

    Both empty when it is none.
    """
    found = _TIME.fullmatch(text.strip())
    if not found:
        return "", ""
    hour, minute, second, fraction = found.groups()
    if int(hour) > 23 or int(minute or 0) > 59 or int(second or 0) > 60:
        return "", ""
    first = f"{hour}{minute or '00'}{second or '00'}{(fraction or '').ljust(6, '0')}"
    return first, f"{hour}{minute or '59'}{second or '59'}{(fraction or '').ljust(6, '9')}"


def time_form(text: str) -> str:
    """`HHMMSSffffff`: the first microsecond of what is stated."""
    return time_span(text)[0]


def number_form(text: str) -> int:
    """The integer, or NO_NUMBER."""
    stripped = text.strip()
    return int(stripped) if _INTEGER.fullmatch(stripped) else NO_NUMBER


def list_form(values: set[str], longest: int) -> str:
    """Values in order as `\\CT\\SR\\`, so that one of them is found by `\\CT\\`; those that don't fit are left out."""
    text = "\\"
    for value in sorted(values):
        if value and len(text) + len(value) + 1 <= longest:
            text += f"{value}\\"
    return text if len(text) > 1 else ""


def list_of(form: str) -> list[str]:
    """The values of a list's form."""
    return [value for value in form.split("\\") if value]
