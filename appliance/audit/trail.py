"""Appends to the unit's audit trail; the table itself refuses every change and removal."""

from __future__ import annotations

import sqlite3
from typing import Final

_INSERT: Final = """
INSERT INTO audit_event (at, actor, role, address, action, study_id, detail)
VALUES (:at, :actor, :role, :address, :action, :study_id, :detail)
"""


def record(
    connection: sqlite3.Connection,
    *,
    at: int,
    actor: str,
    role: str,
    action: str,
    address: str = "",
    study_id: int | None = None,
    detail: str = "",
) -> None:
    """Adds one line. `actor` is a person's login name or a process; `action` a short verb; `at` in Unix ms."""
    values = {
        "at": at,
        "actor": actor,
        "role": role,
        "address": address,
        "action": action,
        "study_id": study_id,
        "detail": detail[:500],
    }
    connection.execute(_INSERT, values)
