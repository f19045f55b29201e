"""The tables `tunnel`, `uplink` and `tunnel_event`: written by the process `tunnel`, read by all."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Final

import msgspec

from appliance.model.help import beats
from appliance.model.tunnel import Outcome, Problem, Step, TunnelFacts, TunnelState
from appliance.named_sql import NamedSql

_SQL: Final = NamedSql("appliance.store_forward.sql", "tunnel.sql")
_EVENTS_KEPT: Final = 1000


class TunnelRow(msgspec.Struct, frozen=True, kw_only=True):
    """The row of `tunnel`; times in Unix ms."""

    state: TunnelState
    since: int
    handshake_at: int | None
    endpoint: str
    public_key: str
    received: int
    sent: int
    problem: Problem
    clock_set: bool


class UplinkRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `uplink`; times in Unix ms."""

    name: str
    place: int
    in_use: bool
    since: int | None
    worked_at: int | None
    problem: str


def write_tunnel(connection: sqlite3.Connection, row: TunnelRow) -> None:
    """The tunnel as it is now. A handshake once known is not forgotten."""
    connection.execute(_SQL["write_tunnel"], msgspec.structs.asdict(row))


def read_handshake(connection: sqlite3.Connection) -> int | None:
    """When the last handshake was that any run of the process saw, Unix ms."""
    row = connection.execute(_SQL["read_tunnel"]).fetchone()
    return None if row is None else row["handshake_at"]


def read_facts(connection: sqlite3.Connection, now: int) -> TunnelFacts:
    """What people are told of the tunnel at `now` (Unix ms); all unknown before it was ever looked at."""
    row = connection.execute(_SQL["read_tunnel_facts"]).fetchone()
    if row is None:
        return TunnelFacts()
    return TunnelFacts(
        state=TunnelState(row["state"]),
        since=row["since"],
        watched=beats(row["beat_at"], now),
        handshake_at=row["handshake_at"],
        endpoint=row["endpoint"],
        public_key=row["public_key"],
        uplink=row["uplink"] or "",
        uplink_since=row["uplink_since"],
        problem=Problem(row["problem"]),
        clock_set=bool(row["clock_set"]),
        step=None if row["step"] is None else Step(row["step"]),
        step_at=row["step_at"],
        step_outcome=None if row["step_outcome"] is None else Outcome(row["step_outcome"]),
    )


def set_uplinks(connection: sqlite3.Connection, names: Sequence[str], now: int) -> None:
    """The uplinks of the configuration, in its order; what is known of those that stay is kept."""
    connection.execute(_SQL["forget_uplinks"], {"names": json.dumps(list(names))})
    connection.executemany(
        _SQL["add_uplink"], [{"name": name, "place": place, "now": now} for place, name in enumerate(names)]
    )


def use_uplink(connection: sqlite3.Connection, name: str, now: int) -> None:
    """This one is in use, and no other."""
    connection.execute(_SQL["uplink_not_in_use"], {"name": name, "now": now})
    connection.execute(_SQL["uplink_in_use"], {"name": name, "now": now})


def write_uplink(connection: sqlite3.Connection, name: str, worked_at: int | None, problem: str) -> None:
    """`worked_at`: the tunnel is up by it; None: as before."""
    connection.execute(_SQL["write_uplink"], {"name": name, "worked_at": worked_at, "problem": problem})


def read_uplinks(connection: sqlite3.Connection) -> list[UplinkRow]:
    """Every uplink, the best first."""
    rows = connection.execute(_SQL["read_uplinks"]).fetchall()
    return [UplinkRow(**(dict(row) | {"in_use": bool(row["in_use"])})) for row in rows]


def add_event(connection: sqlite3.Connection, at: int, step: str, outcome: str, detail: str = "") -> None:
    """What was done for the tunnel, or `state` and the new state. The newest thousand are kept."""
    connection.execute(_SQL["add_tunnel_event"], {"at": at, "step": step, "outcome": outcome, "detail": detail})
    connection.execute(_SQL["forget_tunnel_events"], {"kept": _EVENTS_KEPT})


def read_events(connection: sqlite3.Connection, limit: int = 50) -> list[sqlite3.Row]:
    """`at`, `step`, `outcome`, `detail` of the newest, newest first."""
    return connection.execute(_SQL["read_tunnel_events"], {"limit": limit}).fetchall()
