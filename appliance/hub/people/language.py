"""The languages of the hub's pages, and which one a request gets. Catalogues are read from their `.po` files at start.

As at the unit there is no compiled copy, which would be a second thing to keep right. Fuzzy entries do not count.
"""

from __future__ import annotations

import io
from collections.abc import Collection
from importlib import resources
from typing import Final

from babel import Locale
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import Translations

SOURCE: Final = "en"  # the language of the code; it needs no catalogue
_ROOM: Final = "appliance.hub.people"
_LONGEST: Final = 256  # of an Accept-Language that is looked at


def _l(text: str) -> str:
    """Marks a text that is translated when it is shown."""
    return text


def shipped() -> list[str]:
    """Codes of the languages that the pages are in."""
    names = [entry.name for entry in (resources.files(_ROOM) / "translations").iterdir()]
    return [SOURCE, *sorted(name.removesuffix(".po") for name in names if name.endswith(".po"))]


def read_catalogue(language: str) -> Catalog:
    """The catalogue of one shipped language other than the source's."""
    text = (resources.files(_ROOM) / "translations" / f"{language}.po").read_bytes()
    return read_po(io.BytesIO(text), locale=language)


def translations(language: str) -> Translations:
    """The texts of a language, ready for use."""
    if language == SOURCE:
        return Translations()
    compiled = io.BytesIO()
    write_mo(compiled, read_catalogue(language))
    compiled.seek(0)
    return Translations(compiled)


def own_name(language: str) -> str:
    """The name of a language in itself, as a link to it says."""
    locale = Locale.parse(language)
    return (locale.get_display_name(locale) or language).capitalize()


def choose(chosen: str, accepted: str, languages: Collection[str]) -> str:
    """What the person chose, else the best of `Accept-Language` (RFC 9110 12.5.4) that there is, else English. Pure."""
    if chosen in languages:
        return chosen
    wanted = sorted(map(_weighed, accepted[:_LONGEST].split(",")), key=lambda pair: -pair[1])
    return next((code for code, weight in wanted if weight > 0 and code in languages), SOURCE)


def _weighed(part: str) -> tuple[str, float]:
    code, _, parameter = part.partition(";")
    name, _, value = parameter.strip().partition("=")
    try:
        weight = float(value) if name.strip().lower() == "q" else 1.0
    except ValueError:
        weight = 0.0
    return code.strip().lower().partition("-")[0], weight
