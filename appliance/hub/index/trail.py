"""Appends to the hub's audit trail; nothing in the package changes or removes a line of it."""

from __future__ import annotations

from sqlalchemy import Connection, insert

from appliance.hub.index.tables import audit_event


def record(
    connection: Connection,
    *,
    at: int,
    actor: str,
    role: str,
    action: str,
    address: str = "",
    study_id: int | None = None,
    detail: str = "",
) -> None:
    """Adds one line, with the fields of the unit's trail. `actor` is a person's login name or a process."""
    connection.execute(
        insert(audit_event).values(
            at=at,
            actor=actor[:200],
            role=role,
            address=address,
            action=action,
            study_id=study_id,
            detail=detail[:500],
        )
    )
