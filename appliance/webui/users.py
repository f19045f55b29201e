"""Who may use the page: a name, a role, and a PIN. There is no default user and no default PIN.

Call the functions that change something inside `database.transaction`.
"""

from __future__ import annotations

import re
import sqlite3
from typing import Final, Literal

from appliance.errors import NotFoundError, UserError
from appliance.named_sql import NamedSql
from appliance.store_forward.actions import Actor, record
from appliance.webui import pins

SQL: Final = NamedSql("appliance.webui.sql", "users.sql")
Role = Literal["radiographer", "engineer"]
ROLES: Final[tuple[Role, ...]] = ("radiographer", "engineer")
CONSOLE: Final = Actor(name="console", role="engineer")  # somebody with a shell on the box
_NAME = re.compile(r"[^\W_][\w .'-]{0,39}")


class BadUserError(UserError):
    """This user of the page can't be added or changed so."""

    def __init__(self, problem: str, message: str) -> None:
        super().__init__(message)
        self.problem = problem  # a word that the page has a sentence for


_WEAK: Final = {
    "form": f"A PIN has {pins.SHORTEST} to {pins.LONGEST} digits.",
    "repeats": "This PIN repeats itself; it is too easy to guess.",
    "sequence": "This PIN counts up or down; it is too easy to guess.",
    "common": "This PIN is among the first that people try.",
}


def _hash(pin: str) -> str:
    if problem := pins.weakness(pin):
        raise BadUserError(problem, _WEAK[problem])
    return pins.hash_pin(pin)


def add_user(connection: sqlite3.Connection, name: str, role: Role, pin: str, now: int, by: Actor = CONSOLE) -> int:
    """Adds a user and returns its id. Raises UserError for a bad or taken name and for a weak PIN."""
    name = " ".join(name.split())
    if not _NAME.fullmatch(name):
        raise BadUserError("name", "A name has 1 to 40 letters, digits, spaces or . ' -")
    if connection.execute(SQL["user_named"], {"name": name}).fetchone():
        raise BadUserError("taken", "There is a user of this name already.")
    values = {"name": name, "role": role, "pin_hash": _hash(pin), "now": now}
    user_id = connection.execute(SQL["add_user"], values).lastrowid
    record(connection, by, "add_user", now, detail=f"{name}, {role}")
    return user_id or 0


def set_pin(connection: sqlite3.Connection, name: str, pin: str, now: int, by: Actor = CONSOLE) -> None:
    """Gives a user a new PIN and ends every session of theirs. Raises UserError, NotFoundError."""
    user = connection.execute(SQL["user_named"], {"name": name}).fetchone()
    if user is None:
        raise NotFoundError(f"There is no user {name!r}.")
    connection.execute(SQL["set_pin"], {"user_id": user["id"], "pin_hash": _hash(pin)})
    connection.execute(SQL["revoke_sessions"], {"user_id": user["id"], "now": now})
    record(connection, by, "set_pin", now, detail=user["name"])


def set_disabled(connection: sqlite3.Connection, user_id: int, disabled: bool, now: int, by: Actor = CONSOLE) -> None:
    """Shuts a user out, at once, or lets them in again. Raises UserError for the last engineer, NotFoundError."""
    user = find(connection, user_id)
    last = user["role"] == "engineer" and connection.execute(SQL["engineers"]).fetchone()["count"] == 1
    if disabled and not user["disabled_at"] and last:
        raise BadUserError("last-engineer", "This is the last engineer; add another one first.")
    connection.execute(SQL["set_disabled"], {"user_id": user_id, "disabled_at": now if disabled else None})
    if disabled:
        connection.execute(SQL["revoke_sessions"], {"user_id": user_id, "now": now})
    record(connection, by, "disable_user" if disabled else "enable_user", now, detail=user["name"])


def end_sessions(connection: sqlite3.Connection, user_id: int, now: int, by: Actor = CONSOLE) -> None:
    """Logs a user out everywhere. Raises NotFoundError."""
    user = find(connection, user_id)
    connection.execute(SQL["revoke_sessions"], {"user_id": user_id, "now": now})
    record(connection, by, "end_sessions", now, detail=user["name"])


def find(connection: sqlite3.Connection, user_id: int) -> sqlite3.Row:
    """Id, name, role and disabled_at of a user. Raises NotFoundError."""
    row: sqlite3.Row | None = connection.execute(SQL["user_by_id"], {"user_id": user_id}).fetchone()
    if row is None:
        raise NotFoundError("There is no such user.")
    return row


def list_users(connection: sqlite3.Connection, alive_after: int) -> list[sqlite3.Row]:
    """Every user, with how many sessions they have that were used after `alive_after` (Unix ms)."""
    return connection.execute(SQL["users"], {"alive_after": alive_after}).fetchall()


def anybody(connection: sqlite3.Connection) -> bool:
    """False until somebody may log in."""
    return bool(connection.execute(SQL["anybody"]).fetchone()["found"])
