"""The people that may log in: added, changed, shut out. Each change is a line of the audit trail.

Every function works in the transaction of the connection that it is given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import IntegrityError

from appliance.errors import NotFoundError
from appliance.hub.index import trail
from appliance.hub.people import passwords, scopes, sessions, tokens
from appliance.hub.people.mistakes import BadPersonError
from appliance.hub.people.names import LONGEST, clean_name, name_key
from appliance.hub.people.tables import person as table
from appliance.hub.people.values import Actor, Grant, Role, Visitor

_WEAK: Final = {
    "length": f"A password has {passwords.SHORTEST} to {passwords.LONGEST} characters.",
    "repeats": "This password has too few different characters.",
    "name": "This password is mostly the person's own name.",
    "common": "This password is among the first that people try.",
}
_HINT: Final = "`appliance hub user list` shows who there is."


@dataclass(frozen=True)
class Person:
    """A row of `person`; times in Unix ms."""

    id: int
    name: str
    role: Role
    password_hash: str
    created_at: int
    revoked_at: int | None


_COLUMNS: Final = tuple(table.c[name] for name in Person.__dataclass_fields__)


def find(connection: Connection, name: str) -> Person:
    """The person of this name, shut out or not. Raises NotFoundError."""
    found = named(connection, name)
    if found is None:
        raise NotFoundError("There is no person of this name", hint=_HINT)
    return found


def named(connection: Connection, name: str) -> Person | None:
    """The person of this name, however it is written."""
    row = connection.execute(select(*_COLUMNS).where(table.c.name_key == name_key(name))).one_or_none()
    return Person(row[0], row[1], Role(row[2]), *row[3:]) if row else None


def every(connection: Connection) -> list[Person]:
    """All people by name; those that are shut out last."""
    order = (table.c.revoked_at.is_not(None), table.c.name_key)
    return [
        Person(row[0], row[1], Role(row[2]), *row[3:]) for row in connection.execute(select(*_COLUMNS).order_by(*order))
    ]


def anybody(connection: Connection) -> bool:
    """False until somebody may log in."""
    return connection.execute(select(table.c.id).where(table.c.revoked_at.is_(None)).limit(1)).first() is not None


def hashed(password: str, name: str) -> str:
    """What is kept of a password of this person: made before a transaction, for it takes long. BadPersonError."""
    if problem := passwords.weakness(password, name):
        raise BadPersonError(problem, _WEAK[problem])
    return passwords.hash_password(password)


def add(connection: Connection, name: str, role: Role, grant: Grant, password_hash: str, now: int, by: Actor) -> int:
    """Adds a person; its row. Raises BadPersonError, NotFoundError for a site or jurisdiction that there is not."""
    shown = clean_name(name)
    if shown is None:
        raise BadPersonError("name", f"A name has 1 to {LONGEST} letters, digits, spaces or . ' @ -")
    values = {"name": shown, "name_key": name_key(shown), "role": role, "password_hash": password_hash}
    query = insert(table).values(**values, created_at=now, password_at=now).returning(table.c.id)
    try:
        with connection.begin_nested():
            row: int = connection.execute(query).scalar_one()
    except IntegrityError:
        raise BadPersonError("taken", "There is a person of this name already.") from None
    scopes.grant(connection, row, grant)
    _note(connection, by, "person.add", now, f"{shown}: {role}, {grant.words()}")
    return row


def set_role(connection: Connection, name: str, role: Role, now: int, by: Actor) -> None:
    """What the person may do, from their next request on. Raises NotFoundError."""
    found = find(connection, name)
    connection.execute(update(table).where(table.c.id == found.id).values(role=role))
    _note(connection, by, "person.set-role", now, f"{found.name}: {role}, was {found.role}")


def set_scope(connection: Connection, name: str, grant: Grant, now: int, by: Actor) -> None:
    """Whose studies the person sees, from their next request on. Raises NotFoundError."""
    found = find(connection, name)
    before = scopes.granted(connection, found.id)
    scopes.grant(connection, found.id, grant)
    _note(connection, by, "person.set-sites", now, f"{found.name}: {grant.words()}, was {before.words()}")


def reset_password(connection: Connection, name: str, password_hash: str, now: int, by: Actor) -> None:
    """Another password. Ends every session and token of the person, and lets in again who was shut out."""
    found = find(connection, name)
    _set_password(connection, found.id, password_hash, now, revoked_at=None)
    sessions.end_all(connection, found.id, now)
    tokens.end_all(connection, found.id, now)
    _note(connection, by, "person.reset-password", now, found.name)


def change_password(connection: Connection, person: Person, password_hash: str, now: int, by: Visitor) -> None:
    """Another password, by the person; ends every other session of theirs."""
    _set_password(connection, person.id, password_hash, now)
    sessions.end_all(connection, person.id, now, but=by.session_id)
    _note(connection, by.actor, "person.change-password", now, person.name)


def _set_password(connection: Connection, person_id: int, password_hash: str, now: int, **more: None) -> None:
    values = {"password_hash": password_hash, "password_at": now, **more}
    connection.execute(update(table).where(table.c.id == person_id).values(**values))


def revoke(connection: Connection, name: str, now: int, by: Actor) -> None:
    """Shuts the person out, at once and with every session and token. What they did stays in the audit trail."""
    found = find(connection, name)
    connection.execute(update(table).where(table.c.id == found.id).values(revoked_at=now))
    sessions.end_all(connection, found.id, now)
    tokens.end_all(connection, found.id, now)
    _note(connection, by, "person.revoke", now, found.name)


def _note(connection: Connection, by: Actor, action: str, now: int, detail: str) -> None:
    trail.record(connection, at=now, actor=by.name, role=by.role, address=by.address, action=action, detail=detail)
