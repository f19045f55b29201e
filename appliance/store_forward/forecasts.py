"""Learns the line by hour of day from what the queue shows, and says what is expected of it (`link.forecast`).

A thread of `forward`, with a connection of its own: it reads how much the hub lacks and whether the line is up, four
times a minute, and writes the row of `link_model`. It decides nothing, and nothing waits for it: without it the page
goes back to an estimate from the present rate.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from appliance.clock import now_ms
from appliance.config import UnitConfig
from appliance.errors import DatabaseError
from appliance.link.forecast import Calibration, Now, Range, after_outcome, amounts, ask, play
from appliance.link.history import History, after_minute
from appliance.logs import get_logger
from appliance.named_sql import NamedSql
from appliance.store_forward.database import open_database, transaction

LOOK_SECONDS: Final = 15.0
_MINUTE: Final = 60.0
_LEARN_SECONDS: Final = 300.0  # between two writes of what was learnt: an SD card has only so many
_BUSY_SHARE: Final = 0.5  # of a minute with something to send, for its rate to count
_PROBES_MAX: Final = 8
_PROBE_SECONDS: Final = 120.0  # between two of them
_MEGABYTE: Final = 1e6
_SQL: Final = NamedSql("appliance.store_forward.sql", "forecasts.sql")
_log = get_logger()


class Facts(NamedTuple):
    """What the queue shows. Bytes; bytes a second."""

    backlog: int
    newest: int
    up: bool
    rate: float


class Probe(NamedTuple):
    """An estimate whose outcome is awaited: when `until` bytes have been carried since the start."""

    asked: float  # monotonic seconds
    until: float
    said: Range


class Learner:
    """What is known of the line, fed with `look`. Pure but for the names of its fields; times are arguments."""

    def __init__(self, history: History, calibration: Calibration) -> None:
        self.history, self.calibration = history, calibration
        self.expected: list[tuple[float, float, float]] = []
        self._before: Facts | None = None
        self._carried = 0.0  # bytes, since the start
        self._at = self._minute_at = 0.0
        self._minute_bytes = self._busy_seconds = 0.0
        self._probes: list[Probe] = []
        self._probed_at = -_PROBE_SECONDS

    def look(self, facts: Facts, built: int, hour: float, now: float) -> None:
        """`built`: bytes of the parcels built since the last look. `hour` of day with its fraction; `now` monotonic."""
        before = self._before
        if before is None:
            self._minute_at = now
        else:
            carried = max(0.0, float(before.backlog + built - facts.backlog))
            self._carried += carried
            self._minute_bytes += carried
            self._busy_seconds += now - self._at if before.backlog else 0.0
        self._before, self._at = facts, now
        self._end_minutes(facts, int(hour), now)
        self._settle_probes(facts, now)
        self._expect(facts, hour, now)

    def _end_minutes(self, facts: Facts, hour: int, now: float) -> None:
        length = now - self._minute_at
        if length < _MINUTE:
            return
        busy = self._busy_seconds >= _BUSY_SHARE * length
        rate = float(round(self._minute_bytes / self._busy_seconds)) if busy and self._minute_bytes else None
        self.history = after_minute(self.history, hour, up=facts.up, rate=rate)
        self._minute_at, self._minute_bytes, self._busy_seconds = now, 0.0, 0.0

    def _settle_probes(self, facts: Facts, now: float) -> None:
        waiting = []
        for probe in self._probes:
            if self._carried >= probe.until - 1:
                self.calibration = after_outcome(self.calibration, probe.said, (now - probe.asked) / _MINUTE)
            else:
                waiting.append(probe)
        self._probes = waiting if facts.backlog else []

    def _expect(self, facts: Facts, hour: float, now: float) -> None:
        self.expected = []
        if facts.backlog <= 0:
            return
        present = Now(hour=hour, up=facts.up, rate=facts.rate if facts.up else 0.0)
        wanted = amounts(max(4.0 * facts.backlog, _MEGABYTE))
        forecast = play(self.history, present, wanted, seed=int(now))
        for amount in forecast.bytes:
            found = ask(forecast, self.calibration, amount)
            if found:
                self.expected.append((amount, found.soonest * _MINUTE, found.latest * _MINUTE))
        said = ask(forecast, self.calibration, float(facts.backlog))
        if said and len(self._probes) < _PROBES_MAX and now - self._probed_at >= _PROBE_SECONDS:
            self._probes.append(Probe(now, self._carried + facts.backlog, said))
            self._probed_at = now


@contextlib.contextmanager
def learning(config: UnitConfig) -> Iterator[None]:
    """Learns in a thread while the block runs."""
    stop = threading.Event()
    thread = threading.Thread(target=_run, args=(config, stop), name="forecasts", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _run(config: UnitConfig, stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            with contextlib.closing(open_database(config.data)) as connection:
                _learn_until(stop, connection, ZoneInfo(config.site.timezone))
        except (sqlite3.Error, DatabaseError) as error:  # a full disk, or a busy database: nothing hangs on it
            _log.warning("nothing is learnt of the line now", exception=type(error).__name__)
            stop.wait(LOOK_SECONDS)


def _learn_until(stop: threading.Event, connection: sqlite3.Connection, zone: ZoneInfo) -> None:
    learner, newest, learnt_at = _begin(connection)
    while True:
        facts = Facts(**dict(connection.execute(_SQL["facts"]).fetchone()))
        built = connection.execute(_SQL["built_since"], {"newest": newest}).fetchone()["bytes"]
        local = datetime.now(zone)
        learner.look(facts, built, local.hour + local.minute / 60, time.monotonic())
        newest = facts.newest
        ended = stop.wait(LOOK_SECONDS)
        due = time.monotonic() - learnt_at >= _LEARN_SECONDS
        learnt_at = time.monotonic() if due else learnt_at
        _write(connection, learner, whole=due or ended)
        if ended:
            return


def _begin(connection: sqlite3.Connection) -> tuple[Learner, int, float]:
    """What was learnt before; the newest parcel; when it was written (monotonic)."""
    learner = Learner(*_read_model(connection))
    with transaction(connection):
        _learn(connection, learner)
    return learner, int(connection.execute(_SQL["facts"]).fetchone()["newest"]), time.monotonic()


def _read_model(connection: sqlite3.Connection) -> tuple[History, Calibration]:
    row = connection.execute(_SQL["model"]).fetchone()
    try:
        if row is not None:
            return (
                msgspec.json.decode(row["history"], type=History),
                msgspec.json.decode(row["calibration"], type=Calibration),
            )
    except msgspec.MsgspecError:
        _log.warning("what was learnt of the line can't be read; it is learnt anew")
    return History(), Calibration()


def _write(connection: sqlite3.Connection, learner: Learner, *, whole: bool) -> None:
    with transaction(connection):
        if whole:
            _learn(connection, learner)
        connection.execute(_SQL["expect"], {"expected": json.dumps(_rounded(learner.expected)), "now": now_ms()})


def _learn(connection: sqlite3.Connection, learner: Learner) -> None:
    values = {
        "history": msgspec.json.encode(learner.history).decode(),
        "calibration": msgspec.json.encode(learner.calibration).decode(),
        "now": now_ms(),
    }
    connection.execute(_SQL["learn"], values)


def _rounded(points: list[tuple[float, float, float]]) -> list[list[int]]:
    return [[round(each) for each in point] for point in points]
