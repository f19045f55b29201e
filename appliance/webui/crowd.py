"""Who gets a connection to the page when many want one. Pure.

No address may have more than its share, and whoever comes anew gets in as long as somebody else only holds a place: the
connection that was silent for longest makes room, of that address, or of the one that has most when all places are
taken. So a person with a browser is served however many connections others leave open.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

import msgspec

PER_ADDRESS: Final = 24  # four browsers, which open six each; behind a router there may be more, and they take turns
IN_ALL: Final = 100


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """One that is open. `heard_at` orders them by when something last came or went; `busy`: a request is answered."""

    number: int
    address: str
    heard_at: float
    busy: bool


class Admission(msgspec.Struct, frozen=True):
    """Whether the new one gets in, and the `number` of the one that is closed for it."""

    admitted: bool
    closed: int | None = None


def admit(open_ones: Sequence[Connection], address: str) -> Admission:
    """What becomes of a new connection from `address`."""
    shares = Counter(one.address for one in open_ones)
    if shares[address] >= PER_ADDRESS:
        return _in_place_of([one for one in open_ones if one.address == address])
    if len(open_ones) >= IN_ALL:
        most = max(shares.values())
        return _in_place_of([one for one in open_ones if shares[one.address] == most])
    return Admission(True)


def _in_place_of(some: Sequence[Connection]) -> Admission:
    silent = [one for one in some if not one.busy]
    if not silent:
        return Admission(False)
    return Admission(True, min(silent, key=lambda one: one.heard_at).number)
