"""The languages of the page. Catalogues are read from their `.po` files at start; there is no compiled copy.

A compiled `.mo` would be a second thing to keep right: stale in a checkout, forgotten in a wheel. Reading a
catalogue of this size takes some 20 ms a language, once. Fuzzy entries do not count.
"""

from __future__ import annotations

import io
from importlib import resources
from typing import Final

from babel import Locale
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import Translations
from flask_babel import Domain, get_locale

_PACKAGE: Final = "appliance.webui"
SOURCE: Final = "en"  # the language of the code; it needs no catalogue


def read_catalogue(language: str) -> Catalog:
    """The catalogue of one shipped language other than the source's."""
    text = (resources.files(_PACKAGE) / "translations" / f"{language}.po").read_bytes()
    return read_po(io.BytesIO(text), locale=language)


def shipped() -> list[str]:
    """Codes of the languages that the page is in."""
    names = [entry.name for entry in (resources.files(_PACKAGE) / "translations").iterdir()]
    return [SOURCE, *sorted(name.removesuffix(".po") for name in names if name.endswith(".po"))]


def own_name(language: str) -> str:
    """The name of a language in itself, as a link to it says."""
    locale = Locale.parse(language)
    return (locale.get_display_name(locale) or language).capitalize()


class Catalogues(Domain):  # type: ignore[misc]  # flask_babel has no types
    """Flask-Babel's source of translations, from memory."""

    def __init__(self) -> None:
        super().__init__()
        self._loaded = {language: self._load(language) for language in shipped()}

    @staticmethod
    def _load(language: str) -> Translations:
        if language == SOURCE:
            return Translations()
        compiled = io.BytesIO()
        write_mo(compiled, read_catalogue(language))
        compiled.seek(0)
        return Translations(compiled)

    def get_translations(self) -> Translations:
        """The translations of this request's language."""
        locale = get_locale()
        return self._loaded.get(locale.language if locale else SOURCE) or self._loaded[SOURCE]
