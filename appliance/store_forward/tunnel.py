"""The process `tunnel`: keeps the WireGuard tunnel up, and says how it is.

It alone may change interfaces (CAP_NET_ADMIN) and look names up; it reads no study. Each second it reads the interface,
judges it (`link.wireguard`), and does the step of help that is due (`link.watchdog`, `link.tending`). It writes the
tables `tunnel`, `uplink` and `tunnel_event`, and the time that the clock must not fall behind. A disk that takes
nothing stops the writing, never the help.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from typing import Final

from appliance.clock import now_ms
from appliance.config import UnitConfig
from appliance.errors import ConfigError
from appliance.link import commands, last_time, watchdog
from appliance.link.commands import ToolError
from appliance.link.last_time import Keeper
from appliance.link.tending import Hands
from appliance.link.tunnel import interface_is_up
from appliance.link.uplinks import Uplinks
from appliance.link.watchdog import Pace, Scene, Watch
from appliance.link.wireguard import Interface, Limits, Signs, Tunnel, diagnose, judge
from appliance.logs import configure, get_logger
from appliance.model.tunnel import Problem, TunnelState
from appliance.store_forward import tunnel_rows as rows
from appliance.store_forward.database import open_database, transaction
from appliance.store_forward.full_disk import Wait, insist, may_pass
from appliance.store_forward.journal import database_error
from appliance.store_forward.queue import beat
from appliance.store_forward.tunnel_rows import TunnelRow

TURN_SECONDS: Final = 1.0
BEAT_SECONDS: Final = 5.0
NAME: Final = "tunnel"
_log = get_logger()


def run(config: UnitConfig, stop: threading.Event) -> None:
    """Looks after the tunnel until `stop` is set. Raises ConfigError when none is configured; DatabaseError."""
    configure(NAME)
    if not config.tunnel.endpoint:
        raise ConfigError("tunnel.endpoint is not set: there is no tunnel to look after")
    connection = insist(lambda: open_database(config.data), stop)
    if connection is None:
        return
    with contextlib.closing(connection):
        tender = Tender(config, connection)
        while not stop.is_set():
            tender.turn(time.monotonic(), now_ms())
            stop.wait(TURN_SECONDS)


class Tender:
    """What is known from turn to turn. Times: `now` in monotonic seconds, `now_ms` in Unix ms."""

    def __init__(self, config: UnitConfig, connection: sqlite3.Connection) -> None:
        self._interface, self._key, self._data = config.hub.interface, config.tunnel.peer, config.data
        self._limits = Limits(stale=config.tunnel.stale_seconds, silent=config.tunnel.silent_seconds)
        self._pace = Pace(step=config.tunnel.step_seconds, comeback=config.tunnel.return_seconds)
        self._desk = _Desk(connection)
        in_use = next((row.name for row in rows.read_uplinks(connection) if row.in_use), "")
        self._hands = Hands(config, Uplinks(config.link.uplinks, in_use))
        self._keeper = Keeper(config.data)
        self._tunnel = Tunnel(handshake_at=(rows.read_handshake(connection) or 0) // 1000)
        self._watch = Watch()
        self._dead = False

    def turn(self, now: float, now_at: int) -> None:
        """Reads, judges, helps, and writes down."""
        interface, tools = self._read()
        on = interface is not None and interface_is_up(self._interface)
        peer = interface.peer(self._key) if interface and on else None
        before, self._tunnel = self._tunnel, judge(self._tunnel, peer, self._limits, now=now, now_ms=now_at)
        if before.state is not self._tunnel.state or not before.since:
            self._say_state(now_at)
        dead = self._hands.uplinks.dead
        if interface is not None and on and (peer is not None or not interface.peers):
            self._help(interface, dead, now, now_at)
        clock_set = last_time.is_set()
        problem = diagnose(interface, self._key, self._tunnel, self._signs(tools, on, now_at))
        self._keeper.turn(now, now_at, clock_set=clock_set)
        row = _row(self._tunnel, interface, self._key, problem, clock_set)
        self._desk.write(row, self._hands.uplinks, now, now_at)

    def _read(self) -> tuple[Interface | None, Problem]:
        try:
            return commands.read_interface(self._interface), Problem.NONE
        except ToolError as error:
            return None, error.problem

    def _signs(self, tools: Problem, on: bool, now_at: int) -> Signs:
        kept = (self._keeper.kept or 0) // 1000
        return Signs(
            tools=tools,
            interface_on=on,
            usable_uplinks=self._hands.uplinks.any_usable,
            address_known=not self._hands.address_failed,
            clock_ahead_of=max(self._tunnel.handshake_at, kept),
            now=now_at // 1000,
        )

    def _help(self, interface: Interface, dead: bool, now: float, now_at: int) -> None:
        """The step that is due, if one is."""
        self._hands.settle(interface)
        if self._dead and not dead:
            self._hands.pave()
        self._dead = dead
        uplinks = self._hands.uplinks
        scene = Scene(
            up=self._tunnel.state is TunnelState.UP,
            named=self._hands.named,
            uplinks=len(uplinks),
            place=uplinks.place,
            dead=dead,
        )
        self._watch = watchdog.observe(self._watch, scene)
        step = watchdog.next_step(self._watch, scene, self._pace, now)
        if step is None:
            return
        done = self._hands.do(step, interface, self._watch.rounds)
        self._watch = watchdog.after(self._watch, step, done.outcome, scene, self._pace, now)
        _log.info("tunnel helped", method=str(step), status=str(done.outcome), reason=done.detail)
        self._desk.note(now_at, str(step), str(done.outcome), done.detail)

    def _say_state(self, now_at: int) -> None:
        state, uplink = str(self._tunnel.state), self._hands.uplinks.name
        _log.info("tunnel", state=state, name=uplink)
        self._desk.note(now_at, "state", state, uplink)


def _row(tunnel: Tunnel, interface: Interface | None, key: str, problem: Problem, clock_set: bool) -> TunnelRow:
    peer = interface.peer(key) if interface else None
    return TunnelRow(
        state=tunnel.state,
        since=tunnel.since,
        handshake_at=tunnel.handshake_at * 1000 or None,
        endpoint=peer.endpoint if peer else "",
        public_key=interface.public_key if interface else "",
        received=tunnel.received,
        sent=tunnel.sent,
        problem=problem,
        clock_set=clock_set,
    )


class _Desk:
    """The database, written when something changed and at each beat. What can't be written now waits in memory, the
    newest hundred notes of it.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self._wait = Wait("the tunnel's state")
        self._notes: list[tuple[int, str, str, str]] = []
        self._written: tuple[object, ...] = ()
        self._next_beat = float("-inf")
        self._named = False

    def note(self, at: int, step: str, outcome: str, detail: str) -> None:
        """For table `tunnel_event`, with the next write."""
        self._notes = [*self._notes[-99:], (at, step, outcome, detail)]

    def write(self, row: TunnelRow, uplinks: Uplinks, now: float, now_at: int) -> None:
        """Raises sqlite3.Error when waiting would not help."""
        said = (row.state, row.problem, row.endpoint, row.clock_set, uplinks.name)
        if now < self._next_beat and said == self._written and not self._notes:
            return
        try:
            with transaction(self._db):
                self._write(row, uplinks, now_at)
        except sqlite3.Error as error:
            if not may_pass(error):
                raise
            self._wait.begin(database_error(error))
            return
        self._wait.end()
        self._notes, self._written, self._next_beat, self._named = [], said, now + BEAT_SECONDS, True

    def _write(self, row: TunnelRow, uplinks: Uplinks, now_at: int) -> None:
        if not self._named:
            rows.set_uplinks(self._db, uplinks.names, now_at)
        rows.write_tunnel(self._db, row)
        for place, name in enumerate(uplinks.names):
            works = now_at if row.state is TunnelState.UP and place == uplinks.place else None
            rows.write_uplink(self._db, name, works, "" if uplinks.usable(place) else "no-carrier")
        if uplinks.name:
            rows.use_uplink(self._db, uplinks.name, now_at)
        for at, step, outcome, detail in self._notes:
            rows.add_event(self._db, at, step, outcome, detail)
        beat(self._db, NAME, now_at, _status(row, uplinks.name))


def _status(row: TunnelRow, uplink: str) -> str:
    by = f" by {uplink}" if uplink else ""
    return f"{row.state}{by}" + (f": {row.problem}" if row.problem and row.state is not TunnelState.UP else "")
