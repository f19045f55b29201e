"""Who asks, and whose studies it may see."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.config import PacsPeer
from appliance.hub.index.scope import EVERYTHING, Scope


@dataclass(frozen=True)
class Peer:
    """A configured device that has an association open, as the audit trail names it."""

    name: str
    ae_title: str
    address: str
    scope: Scope


def peer_of(entry: PacsPeer, address: str) -> Peer:
    """An entry of the file that calls from `address`. One that names no sites sees all."""
    scope = Scope(frozenset(entry.sites)) if entry.sites else EVERYTHING
    return Peer(entry.name, entry.ae_title.strip(), address, scope)
