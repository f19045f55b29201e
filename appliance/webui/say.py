"""The words of translation, with types: `_` for a sentence, `_n` for one with a number, `_l` for one said later."""

from __future__ import annotations

from flask_babel import gettext, lazy_gettext, ngettext
from flask_babel.speaklater import LazyString


def _(message: str, /, **values: object) -> str:
    """`message` in this request's language, with `%(name)s` filled in."""
    return str(gettext(message, **values))


def _n(one: str, many: str, count: int, /, **values: object) -> str:
    """`one` or `many`, as the language's rules for `count` want; `%(num)s` is the count."""
    return str(ngettext(one, many, count, **values))


def _l(message: str) -> LazyString:
    """`message`, translated when it is shown: for tables that are made before there is a request."""
    return lazy_gettext(message)
