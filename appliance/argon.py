"""How PINs and passwords are kept: argon2id with a salt of its own. The secret itself is nowhere."""

from __future__ import annotations

import threading
from typing import Final

import argon2

# 19 MiB and two passes (OWASP's second choice): a Pi takes about 0.1 s. One at a time, so that a flood of logins can't
# take a box's memory.
_HASHER: Final = argon2.PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
_ONE_AT_A_TIME: Final = threading.Lock()
# Of no secret that anybody has, by the same parameters: the wrong name takes as long as the wrong secret.
_NOBODY: Final = "$argon2id$v=19$m=19456,t=2,p=1$t6UmyVP4CWJF/8aHGXKbDA$X7hj6GHZMi9bi69fUQWj8SrhEXI6NOvjYte0EICAtsQ"


def hash_secret(secret: str) -> str:
    """What is kept: an argon2id string."""
    with _ONE_AT_A_TIME:
        return _HASHER.hash(secret)


def matches(kept: str | None, secret: str) -> bool:
    """True when `secret` is the one. None for a person who does not exist: always False, and as slow."""
    try:
        with _ONE_AT_A_TIME:
            return _HASHER.verify(kept or _NOBODY, secret) and kept is not None
    except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
        return False
