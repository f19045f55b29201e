"""Logging in: what a try costs, and what comes of it.

A try counts as a failure before its password is looked at, so that tries at the same moment, or a process that dies,
make none of them free. Failures count

- by name: guessing one person's password is slow, from however many addresses;
- by address, with more room, for a hospital may be behind one;
- and for a browser where this person has logged in before, by that browser alone. So whoever guesses elsewhere, be it
  at the next desk, takes the login from nobody who has one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, delete, insert, or_, select

from appliance.hub.index import trail
from appliance.hub.people import persons, sessions
from appliance.hub.people.names import name_digest
from appliance.hub.people.persons import Person
from appliance.hub.people.tables import login_failure as table
from appliance.hub.people.values import Actor
from appliance.model import throttle

ADDRESS_FREE: Final = 10
ADDRESS_LONGEST_MS: Final = 30_000
_SKEW_MS: Final = 60_000  # what is further ahead was written by a clock that was wrong, not by another hub's
_LOOK_AT: Final = 64  # more failures than these make no wait longer


@dataclass(frozen=True)
class Try:
    """A try whose password is still to be checked. `password_hash` is None when nobody can log in so."""

    person_name: str | None
    password_hash: str | None
    name_digest: bytes
    address: str
    browser: str


@dataclass(frozen=True)
class Wait:
    """No try may be made now, for so many ms."""

    ms: int


def begin(connection: Connection, name: str, browser: str, address: str, now: int) -> Try | Wait:
    """Counts a try. `browser`: what the browser shows to be known again; empty when it shows nothing."""
    tried, person = name_digest(name), persons.named(connection, name)
    known = person is not None and browser != "" and sessions.is_known(connection, person.id, browser)
    own = sessions.digest(browser) if known else None
    if wait := _wait(connection, tried, own, address, now):
        return Wait(wait)
    connection.execute(delete(table).where(or_(table.c.at < now - throttle.WINDOW_MS, table.c.at > now + _SKEW_MS)))
    values = {"at": now, "name_digest": tried, "address": address, "browser_digest": own}
    connection.execute(insert(table).values(**values))
    usable = person is not None and person.revoked_at is None
    return Try(
        person_name=person.name if person else None,
        password_hash=person.password_hash if person and usable else None,
        name_digest=tried,
        address=address,
        browser=browser,
    )


def settle(connection: Connection, tried: Try, right: bool, now: int) -> Person | None:
    """Who it was, whose failures here are forgotten; None, and a line in the audit trail, for a try that failed."""
    person = persons.named(connection, tried.person_name) if tried.person_name else None
    # The person may have been changed while the password was hashed.
    if not right or person is None or person.revoked_at or person.password_hash != tried.password_hash:
        _note(connection, Actor(tried.person_name or "unknown name", "", tried.address), "login-failed", now)
        return None
    _forget(connection, tried)
    return person


def start(connection: Connection, person: Person, tried: Try, now: int) -> tuple[str, str]:
    """Begins a session: its token, and that by which the browser is known again. Noted in the audit trail."""
    browser = tried.browser or sessions.new_token()
    token = sessions.start(connection, person.id, browser, tried.address, now)
    _note(connection, Actor(person.name, person.role, tried.address), "login", now)
    return token, browser


def _wait(connection: Connection, tried: bytes, browser: bytes | None, address: str, now: int) -> int:
    if browser is not None:
        own = _times(connection, now, table.c.name_digest == tried, table.c.browser_digest == browser)
        return throttle.wait_ms(own, now)
    strange = table.c.browser_digest.is_(None)
    of_name = _times(connection, now, strange, table.c.name_digest == tried)
    of_address = _times(connection, now, strange, table.c.address == address)
    return max(
        throttle.wait_ms(of_name, now),
        throttle.wait_ms(of_address, now, ADDRESS_FREE, ADDRESS_LONGEST_MS),
    )


def _times(connection: Connection, now: int, *which: ColumnElement[bool]) -> list[int]:
    recent = (table.c.at > now - throttle.WINDOW_MS, table.c.at <= now)
    query: Any = select(table.c.at).where(*recent, *which).order_by(table.c.at.desc()).limit(_LOOK_AT)
    return list(connection.execute(query).scalars())


def _forget(connection: Connection, tried: Try) -> None:
    """Only this person's failures here: whoever guesses must not start afresh by logging in as themselves."""
    here = (table.c.address == tried.address) & table.c.browser_digest.is_(None)
    if tried.browser:
        here |= table.c.browser_digest == sessions.digest(tried.browser)
    connection.execute(delete(table).where(table.c.name_digest == tried.name_digest, here))


def _note(connection: Connection, by: Actor, action: str, now: int) -> None:
    trail.record(connection, at=now, actor=by.name, role=by.role, address=by.address, action=action)
