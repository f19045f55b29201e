"""PINs: which are too easy to guess, and how they are kept (argon2id; the PIN itself is nowhere)."""

from __future__ import annotations

import itertools
import re
from typing import Final

from appliance import argon

SHORTEST: Final = 6
LONGEST: Final = 16
_KNOWN: Final = frozenset(
    {"102030", "112233", "123321", "147258", "159753", "147852", "258456", "789456", "741852", "246810"}
)


def weakness(pin: str) -> str | None:
    """`form`, `repeats`, `sequence` or `common` when `pin` must not be used; None when it may."""
    if not re.fullmatch(rf"[0-9]{{{SHORTEST},{LONGEST}}}", pin):
        return "form"
    if len(set(pin)) < 3 or any(pin == pin[:n] * (len(pin) // n) for n in (1, 2, 3, 4) if len(pin) % n == 0):
        return "repeats"
    steps = {(int(b) - int(a)) % 10 for a, b in itertools.pairwise(pin)}
    if steps <= {1} or steps <= {9}:
        return "sequence"
    return "common" if pin in _KNOWN else None


def hash_pin(pin: str) -> str:
    """What is kept of a PIN."""
    return argon.hash_secret(pin)


def matches(pin_hash: str | None, pin: str) -> bool:
    """True when `pin` is the one. None for the hash of a person who does not exist: always False, and as slow."""
    return argon.matches(pin_hash, pin[: 4 * LONGEST])
