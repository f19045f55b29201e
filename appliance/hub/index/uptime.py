"""How long this hub has been up in all. The days of an upload are counted in it: no jump of a clock moves it."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, select, update

from appliance.hub.index.tables import uptime as table


@dataclass(frozen=True)
class Moment:
    """`at`: Unix ms by the hub's clock, which may jump. `up`: ms for which the hub had been up until then."""

    at: int
    up: int


def read(connection: Connection) -> int:
    """The uptime that was saved last, in ms."""
    return int(connection.execute(select(table.c.milliseconds)).scalar_one())


def save(connection: Connection, milliseconds: int) -> None:
    """Saves the uptime. What was not saved when the hub ends does not count."""
    connection.execute(update(table).values(milliseconds=milliseconds))
