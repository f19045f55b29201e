"""Tokens for viewers: shown once, kept as SHA-256, ended at once.

A token sees what its person sees, now, and may look and pull: never more, whatever the person's role.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, insert, select, update

from appliance.errors import NotFoundError, UsageError
from appliance.hub.index import trail
from appliance.hub.people.tables import person
from appliance.hub.people.tables import token as table
from appliance.hub.people.values import Actor

LABEL_LONGEST: Final = 64
_BEARER: Final = re.compile(r"[Bb]earer (viewer_[A-Za-z0-9_-]{43})", re.ASCII)
_TOUCH_MS: Final = 60_000
_DAY_MS: Final = 86_400_000


@dataclass(frozen=True)
class Token:
    """A row of `token`, with the name of its person; times in Unix ms."""

    id: int
    person: str
    label: str
    created_at: int
    expires_at: int
    used_at: int | None
    ended_at: int | None


@dataclass(frozen=True)
class Found:
    """A token that may be used."""

    token_id: int
    person_id: int
    name: str
    stale: bool  # its use was not noted for a minute


def parse_bearer(authorization: str) -> str | None:
    """The token of an `Authorization` header (RFC 6750 2.1); None when it is none of ours."""
    match = _BEARER.fullmatch(authorization)
    return match.group(1) if match else None


def add(connection: Connection, person_id: int, name: str, label: str, days: float, now: int, by: Actor) -> str:
    """A new token of this person. Raises UsageError for a label that can't be shown."""
    if not label.strip() or not label.isprintable() or len(label) > LABEL_LONGEST:
        raise UsageError(f"A label has 1 to {LABEL_LONGEST} characters that can be shown")
    token = f"viewer_{secrets.token_urlsafe(32)}"
    values = {"token_digest": _digest(token), "person_id": person_id, "label": label, "created_at": now}
    query = insert(table).values(**values, expires_at=now + int(days * _DAY_MS)).returning(table.c.id)
    row: int = connection.execute(query).scalar_one()
    detail = f"{name}: token {row}, {label}"
    trail.record(connection, at=now, actor=by.name, role=by.role, address=by.address, action="token.add", detail=detail)
    return token


def find(connection: Connection, token: str, now: int) -> Found | None:
    """Whose token it is; None when it is unknown, ended or over, or its person is shut out."""
    usable = (table.c.ended_at.is_(None), table.c.expires_at > now, person.c.revoked_at.is_(None))
    columns = (table.c.id, person.c.id, person.c.name, table.c.used_at)
    query = select(*columns).join(person, person.c.id == table.c.person_id)
    row = connection.execute(query.where(table.c.token_digest == _digest(token), *usable)).one_or_none()
    if row is None:
        return None
    return Found(row[0], row[1], row[2], row.used_at is None or abs(now - row.used_at) > _TOUCH_MS)


def touch(connection: Connection, token_id: int, now: int) -> None:
    """Notes that it was used."""
    connection.execute(update(table).where(table.c.id == token_id).values(used_at=now))


def every(connection: Connection, person_id: int | None = None) -> list[Token]:
    """All, or those of one person, the newest first."""
    columns = (table.c.id, person.c.name, table.c.label, table.c.created_at, table.c.expires_at, table.c.used_at)
    query = select(*columns, table.c.ended_at).join(person, person.c.id == table.c.person_id)
    if person_id is not None:
        query = query.where(table.c.person_id == person_id)
    return [Token(*row) for row in connection.execute(query.order_by(table.c.id.desc()))]


def end(connection: Connection, token_id: int, now: int, by: Actor, of: int | None = None) -> Token:
    """Ends one, at once. `of`: only when it is this person's. Raises NotFoundError."""
    found = next((one for one in every(connection, of) if one.id == token_id), None)
    if found is None:
        raise NotFoundError("There is no such token", hint="`appliance hub user token list` names them.")
    connection.execute(update(table).where(table.c.id == token_id, table.c.ended_at.is_(None)).values(ended_at=now))
    detail = f"{found.person}: token {found.id}, {found.label}"
    trail.record(
        connection, at=now, actor=by.name, role=by.role, address=by.address, action="token.revoke", detail=detail
    )
    return found


def end_all(connection: Connection, person_id: int, now: int) -> None:
    """Ends all of a person."""
    own = (table.c.person_id == person_id, table.c.ended_at.is_(None))
    connection.execute(update(table).where(*own).values(ended_at=now))


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("ascii", "replace")).digest()
