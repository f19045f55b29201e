"""How each site's unit said that it is. The last that it told is kept."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
from sqlalchemy import Connection, insert, select, update

from appliance.hub.index.tables import health as table
from appliance.model.health import Health


@dataclass(frozen=True)
class Told:
    """What it said, and when that came, in Unix ms by the hub's clock."""

    told_at: int
    health: Health


def tell(connection: Connection, site_id: str, health: Health, now: int) -> None:
    """Takes the place of what the site told before."""
    values = {"told_at": now, "content": msgspec.json.encode(health).decode()}
    if not connection.execute(update(table).where(table.c.site_id == site_id).values(**values)).rowcount:
        connection.execute(insert(table).values(site_id=site_id, **values))


def every(connection: Connection) -> dict[str, Told]:
    """By site."""
    return {
        row.site_id: Told(row.told_at, msgspec.json.decode(row.content, type=Health))
        for row in connection.execute(select(table))
    }
