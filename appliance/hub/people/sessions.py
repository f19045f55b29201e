"""Staying logged in: a random token in a cookie, its SHA-256 in the table `session`.

A stolen database holds no token. A session ends unused, after a week in any case, and at once when it is ended here.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, delete, exists, func, insert, select, update

from appliance.hub.people.tables import person
from appliance.hub.people.tables import session as table

LONGEST_MS: Final = 7 * 86_400_000  # a session is over then, however much it is used
KNOWN_MS: Final = 180 * 86_400_000  # a browser is known for so long after its last login
_TOUCH_MS: Final = 60_000  # a write is an fsync: use is noted once a minute


@dataclass(frozen=True)
class Found:
    """A session that is open."""

    session_id: int
    person_id: int
    name: str
    role: str
    stale: bool  # its use was not noted for a minute


def digest(text: str) -> bytes:
    """What is kept of a token."""
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()


def new_token() -> str:
    """32 random bytes: there is nothing to guess from, so a plain hash is enough."""
    return secrets.token_urlsafe(32)


def start(connection: Connection, person_id: int, browser: str, address: str, now: int) -> str:
    """A new session, and its token; drops those that nobody needs any more."""
    connection.execute(delete(table).where(table.c.seen_at < now - KNOWN_MS))
    token = new_token()
    values = {"token_digest": digest(token), "person_id": person_id, "browser_digest": digest(browser)}
    connection.execute(insert(table).values(**values, address=address, created_at=now, seen_at=now))
    return token


def find(connection: Connection, token: str, alive_ms: int, now: int) -> Found | None:
    """The open session of a token; None when it is unknown, ended, too old, or unused for `alive_ms`."""
    columns = (table.c.id, person.c.id, person.c.name, person.c.role, table.c.seen_at, table.c.created_at)
    is_open = (table.c.ended_at.is_(None), person.c.revoked_at.is_(None))
    query = select(*columns).join(person, person.c.id == table.c.person_id)
    row = connection.execute(query.where(table.c.token_digest == digest(token), *is_open)).one_or_none()
    if row is None or abs(now - row.seen_at) > alive_ms or abs(now - row.created_at) > LONGEST_MS:
        return None
    return Found(row[0], row[1], row[2], row[3], abs(now - row.seen_at) > _TOUCH_MS)


def touch(connection: Connection, session_id: int, now: int) -> None:
    """Notes that it was used."""
    connection.execute(update(table).where(table.c.id == session_id).values(seen_at=now))


def end(connection: Connection, session_id: int, now: int) -> None:
    """Ends one."""
    connection.execute(update(table).where(table.c.id == session_id, table.c.ended_at.is_(None)).values(ended_at=now))


def end_all(connection: Connection, person_id: int, now: int, but: int | None = None) -> None:
    """Ends all of a person; `but` stays."""
    open_ones = (table.c.person_id == person_id, table.c.ended_at.is_(None))
    others = (table.c.id != but,) if but is not None else ()
    connection.execute(update(table).where(*open_ones, *others).values(ended_at=now))


def is_known(connection: Connection, person_id: int, browser: str) -> bool:
    """Whether this person has logged in with this browser before."""
    seen = exists().where(table.c.person_id == person_id, table.c.browser_digest == digest(browser))
    return bool(connection.execute(select(seen)).scalar())


def open_of(connection: Connection, person_id: int, alive_ms: int, now: int) -> tuple[int, int | None]:
    """How many sessions a person has open, and when the last of all was used."""
    alive = (table.c.ended_at.is_(None), table.c.seen_at > now - alive_ms, table.c.created_at > now - LONGEST_MS)
    count = select(func.count()).where(table.c.person_id == person_id, *alive).scalar_subquery()
    last = select(func.max(table.c.seen_at)).where(table.c.person_id == person_id).scalar_subquery()
    row = connection.execute(select(count, last)).one()
    return row[0], row[1]
