"""Logging in and staying so: a random token in a cookie, its SHA-256 in the table `session`.

A stolen database holds no token; a session can be ended from the engineer's page at once.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import sqlite3
import threading
from typing import Final

import msgspec

from appliance.model import throttle
from appliance.store_forward.actions import Actor, record
from appliance.store_forward.database import transaction
from appliance.webui import pins
from appliance.webui.users import SQL

_TOUCH_MS: Final = 60_000  # a write is an fsync: use is noted once a minute
_KEPT_MS: Final = 30 * 86_400_000
_NAME_LONGEST: Final = 40
_ONE_LOGIN: Final = threading.Lock()


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """Who sent this request."""

    id: int
    user_id: int
    name: str
    role: str

    @property
    def is_engineer(self) -> bool:
        """May change devices and users."""
        return self.role == "engineer"


class Answer(msgspec.Struct, frozen=True):
    """What came of a try to log in: a token, or a wait in ms before the next try, or neither for a wrong PIN."""

    token: str | None = None
    wait_ms: int = 0


def log_in(connection: sqlite3.Connection, name: str, pin: str, address: str, now: int) -> Answer:
    """Checks the PIN of `name` unless this address or name must wait; notes failure and success in the audit trail.

    Failures count by address, and by name from addresses where that person has not logged in before: guessing a name
    from a hundred addresses is slow, and yet nobody who guesses from elsewhere can lock a radiographer out at the
    ward's own computer. One login at a time, so that tries at the same moment are counted one after the other. The PIN
    is checked outside the transaction: hashing takes long, and the modalities write to this database too.
    """
    name = " ".join(name.split())[:_NAME_LONGEST]
    with _ONE_LOGIN:
        user = connection.execute(SQL["user_named"], {"name": name}).fetchone()
        wait = _wait(connection, user, name, address, now)
        if wait:
            return Answer(wait_ms=wait)
        usable = user is not None and user["disabled_at"] is None
        right = pins.matches(user["pin_hash"] if usable else None, pin)
        with transaction(connection):
            if not right:
                _note_failure(connection, name, address, now)
                return Answer()
            return Answer(token=_start(connection, user, address, now))


def _wait(connection: sqlite3.Connection, user: sqlite3.Row | None, name: str, address: str, now: int) -> int:
    values = {"after": now - throttle.WINDOW_MS, "address": address, "name": name}
    waits = [_wait_of(connection, "failures_of_address", values, now)]
    known = user and connection.execute(SQL["knows_address"], {"user_id": user["id"], "address": address}).fetchone()
    if not (known and known["found"]):
        waits.append(_wait_of(connection, "failures_of_name", values, now))
    return max(waits)


def _wait_of(connection: sqlite3.Connection, query: str, values: dict[str, object], now: int) -> int:
    return throttle.wait_ms([row["at"] for row in connection.execute(SQL[query], values)], now)


def _note_failure(connection: sqlite3.Connection, name: str, address: str, now: int) -> None:
    connection.execute(SQL["drop_old_failures"], {"before": now - throttle.WINDOW_MS, "now": now})
    connection.execute(SQL["record_failure"], {"at": now, "address": address, "name": name})
    record(connection, Actor(name=name, role="", address=address), "login_failed", now)


def _start(connection: sqlite3.Connection, user: sqlite3.Row, address: str, now: int) -> str:
    token = secrets.token_urlsafe(32)
    connection.execute(SQL["drop_old_sessions"], {"before": now - _KEPT_MS})
    # Only this person's: whoever guesses another's PIN must not start afresh by logging in as themselves.
    connection.execute(SQL["forget_failures"], {"address": address, "name": user["name"]})
    values = {"token_hash": _digest(token), "user_id": user["id"], "address": address, "now": now}
    connection.execute(SQL["start_session"], values)
    record(connection, Actor(name=user["name"], role=user["role"], address=address), "login", now)
    return token


def find(connection: sqlite3.Connection, token: str, alive_ms: int, now: int, *, touch: bool) -> Session | None:
    """The session of a token, or None when it is unknown, ended, or unused for `alive_ms`. `touch` notes its use."""
    row = connection.execute(SQL["find_session"], {"token_hash": _digest(token)}).fetchone()
    if row is None or abs(now - row["seen_at"]) > alive_ms:
        return None
    if touch and abs(now - row["seen_at"]) > _TOUCH_MS:
        with contextlib.suppress(sqlite3.OperationalError):  # a full disk must not hide the page that says so
            connection.execute(SQL["touch_session"], {"session_id": row["id"], "now": now})
    return Session(id=row["id"], user_id=row["user_id"], name=row["name"], role=row["role"])


def log_out(connection: sqlite3.Connection, session: Session, address: str, now: int) -> None:
    """Ends this session."""
    with transaction(connection):
        connection.execute(SQL["revoke_session"], {"session_id": session.id, "now": now})
        record(connection, Actor(name=session.name, role=session.role, address=address), "logout", now)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()
