"""Forms of the pages: read within ceilings, and sent from a page of ours or not at all (CSRF).

A form carries a token that is made of a cookie which only its own browser has: that of the session, or, before there is
one, one for forms. Nothing is kept of it here.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl

BODY_MAX: Final = 16_384
FIELD: Final = "form_token"
_FIELDS_MAX: Final = 32
_KIND: Final = "application/x-www-form-urlencoded"
_OWN: Final = ("", "same-origin", "none")


def form_token(cookie: str) -> str:
    """What the forms of the browser with this cookie carry."""
    made = hmac.new(cookie.encode("utf-8", "replace"), b"form", hashlib.sha256).digest()
    return base64.urlsafe_b64encode(made).decode("ascii").rstrip("=")


def parse(body: bytes, content_type: str) -> dict[str, str]:
    """The fields; of one that comes twice the last. Raises ValueError for what is no form, or has too many fields."""
    if content_type != _KIND:
        raise ValueError("no form")
    pairs = parse_qsl(body.decode("ascii", "replace"), keep_blank_values=True, max_num_fields=_FIELDS_MAX)
    return dict(pairs)


def is_ours(form: Mapping[str, str], cookie: str, fetch_site: str) -> bool:
    """Whether the form was sent from a page of ours. `fetch_site`: what the browser says in Sec-Fetch-Site."""
    if not cookie or fetch_site not in _OWN:
        return False
    shown = form.get(FIELD, "").encode("utf-8", "replace")
    return hmac.compare_digest(shown, form_token(cookie).encode("ascii"))
