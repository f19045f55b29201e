"""What a person does at the hub's shell, in the hub's audit trail."""

from __future__ import annotations

from sqlalchemy import Connection

from appliance import clock
from appliance.audit.person import person
from appliance.hub.index import trail


def note(connection: Connection, action: str, study_id: int | None = None, detail: str = "") -> None:
    """Adds a line of who does this now. Call it before anything is shown or written."""
    actor, at = person(), clock.now_ms()
    trail.record(connection, at=at, actor=actor, role="shell", action=f"hub.{action}", study_id=study_id, detail=detail)
