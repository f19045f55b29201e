"""The values of this room: roles, what a person is granted, who does something, who asks."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from appliance.hub.index.scope import Scope

ADDRESS_LONGEST: Final = 64


class Role(StrEnum):
    """What a person may do. Each may do what those before it may."""

    READER = "reader"  # look, pull
    STAFF = "staff"  # claim, wish, route
    ADMIN = "admin"  # people, sites, shares

    def may(self, needed: Role) -> bool:
        """Whether this role is enough where `needed` is asked for."""
        order = list(Role)
        return order.index(self) >= order.index(needed)


@dataclass(frozen=True)
class Grant:
    """Whose studies a person sees, as it was said: every site, these, and those that carry these jurisdictions."""

    everything: bool = False
    sites: tuple[str, ...] = ()
    jurisdictions: tuple[str, ...] = ()

    def words(self) -> str:
        """In one line, for the audit trail and a terminal."""
        if self.everything:
            return "all sites"
        named = [*self.sites, *(f"jurisdiction {name}" for name in self.jurisdictions)]
        return ", ".join(named) or "no site"


@dataclass(frozen=True)
class Actor:
    """Who changes something, for the audit trail."""

    name: str
    role: str
    address: str = ""


@dataclass(frozen=True)
class Visitor:
    """Who sent a request: a person by a session, or a viewer by a token of theirs."""

    person_id: int
    name: str
    role: Role
    scope: Scope
    address: str
    session_id: int | None = None
    token_id: int | None = None

    @property
    def actor(self) -> Actor:
        """For the audit trail."""
        role = self.role if self.token_id is None else f"token {self.token_id}"
        return Actor(self.name, role, self.address)
