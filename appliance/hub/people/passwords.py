"""Passwords: which are too easy to guess, and good ones made."""

from __future__ import annotations

import secrets
import unicodedata
from typing import Final

from appliance import argon
from appliance.hub.people.names import name_key

SHORTEST: Final = 12
LONGEST: Final = 128
_LETTERS: Final = "abcdefghjkmnpqrstuvwxyz23456789"  # without those that look like others
_GROUPS: Final = 4
_IN_GROUP: Final = 4
_KNOWN: Final = ("password", "passwort", "motdepasse", "qwerty", "azerty", "letmein", "123456", "abcdef", "radiology")
_DIFFERENT: Final = 6


def new_password() -> str:
    """A random one that can be read over the telephone: 16 letters and digits, 79 bits."""
    groups = ("".join(secrets.choice(_LETTERS) for _ in range(_IN_GROUP)) for _ in range(_GROUPS))
    return "-".join(groups)


def weakness(password: str, name: str) -> str | None:
    """`length`, `name`, `common` or `repeats` when it must not be used by the person of this name; None when it may."""
    if not SHORTEST <= len(password) <= LONGEST:
        return "length"
    folded = _normal(password).casefold()
    if len(set(folded)) < _DIFFERENT:
        return "repeats"
    if name_key(name).replace(" ", "") in folded and 2 * len(name) >= len(password):
        return "name"
    left = folded
    for word in _KNOWN:
        left = left.replace(word, "")
    return "common" if len(left) < SHORTEST // 2 else None


def hash_password(password: str) -> str:
    """What is kept of it."""
    return argon.hash_secret(_normal(password))


def matches(kept: str | None, password: str) -> bool:
    """True when it is the one. None for a person who does not exist: always False, and as slow."""
    return argon.matches(kept, _normal(password[: LONGEST + 1]))


def _normal(password: str) -> str:
    """The same whatever keyboard wrote its accents; a lone surrogate, which no text can hold, becomes `?`."""
    return unicodedata.normalize("NFKC", password.encode("utf-8", "replace").decode())
