"""The forward process: it alone speaks to the hub. Sends parcels in turn, and takes receipts.

One body at a time is on the line; opening uploads, awaiting answers and verdicts goes on beside it, so that a round
trip never leaves the line idle. `schedule` says which parcel, `upload.client` what to ask, `model.retry` when again,
`verdicts` what an answer means; `sender`, `verdict_desk` and `hub_line` are the tasks around them. Anything may be
cut at any point: what is known is in the queue, and what the hub holds is asked of the hub. A disk that takes nothing
more makes it wait (`desk`), never end.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import msgspec

from appliance.clock import now_ms
from appliance.config import UnitConfig, read_secret
from appliance.courier.faults import CourierKeyError
from appliance.errors import DatabaseError, HubRefusedError, LinkError, UnreadableFileError
from appliance.link.pace import Weight
from appliance.link.tunnel import find_way
from appliance.logs import configure, get_logger
from appliance.store_forward.database import open_database
from appliance.store_forward.desk import Desk
from appliance.store_forward.early import EarlyBook
from appliance.store_forward.early_desk import EarlyDesk
from appliance.store_forward.forecasts import learning
from appliance.store_forward.full_disk import WAITING, insist, may_pass
from appliance.store_forward.health_desk import HealthDesk
from appliance.store_forward.hub_line import HubLine
from appliance.store_forward.journal import database_error
from appliance.store_forward.outbox import LinkRow, Outbox, Progress
from appliance.store_forward.replica_lane import ReplicaLane
from appliance.store_forward.sender import Sender
from appliance.store_forward.transport import HubClient
from appliance.store_forward.unreadable import Unreadable
from appliance.store_forward.verdict_desk import VerdictDesk

LOOK_SECONDS: Final = 0.1  # how soon a stat study that comes in is seen
REPORT_SECONDS: Final = 1.0
BEAT_SECONDS: Final = 2.0

log = get_logger()


def run(config: UnitConfig, stop: threading.Event) -> None:
    """Sends until `stop` is set. Raises ConfigError when there is no way to the hub that stays in the tunnel, or no
    secret; DatabaseError when the queue is damaged or not ours to write.
    """
    configure("forward")
    way = find_way(config.hub)
    hub = HubClient(way, config.hub, read_secret(config))
    try:
        with learning(config):
            asyncio.run(_run(config, hub, way.path, stop))
    except* (sqlite3.Error, DatabaseError) as group:
        error = _first(group)
        raise database_error(error) if isinstance(error, sqlite3.Error) else DatabaseError(str(error)) from group


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """One of the errors that the tasks ended with."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


async def _run(config: UnitConfig, hub: HubClient, base: str, stop: threading.Event) -> None:
    with ThreadPoolExecutor(1, "outbox") as thread:
        async with contextlib.AsyncExitStack() as at_the_end:
            at_the_end.push_async_callback(hub.close)
            loop = asyncio.get_running_loop()
            outbox = await loop.run_in_executor(thread, lambda: insist(lambda: Outbox(config), stop))
            if outbox is None:
                return
            desk = Desk(outbox, thread)
            at_the_end.push_async_callback(desk.once, outbox.close)
            book = await desk.once(insist, lambda: EarlyBook(config.data), stop)
            if book is None:
                return
            at_the_end.push_async_callback(desk.once, book.close)
            await Forward(config, hub, desk, book, base).run(stop)


class Forward:
    """The tasks of this process and what they share: `wake` (the turn may have changed) and `uploaded`."""

    def __init__(self, config: UnitConfig, hub: HubClient, desk: Desk, book: EarlyBook, base: str) -> None:
        self._config, self._hub, self._desk, self._book, self._base = config, hub, desk, book, base
        self._wake, self._uploaded, self._unreadable = asyncio.Event(), asyncio.Event(), Unreadable()
        self._reported: LinkRow | None = None
        self._courier_key = ""  # the one that the queue has
        self._beaten = 0.0

    async def run(self, stop: threading.Event) -> None:
        """Until `stop` is set. What is under way is then cut; the hub keeps what it got."""
        before = await self._desk.once(self._desk.outbox.link)
        self._line = HubLine(self._config, self._hub, self._base, before, self._wake)
        self._sender = Sender(
            self._hub,
            self._line,
            self._desk,
            self._base,
            self._config.hub.retry_seconds_max,
            self._config.link,
            wake=self._wake,
            uploaded=self._uploaded,
            unreadable=self._unreadable,
        )
        verdicts = VerdictDesk(
            self._line,
            self._desk,
            self._base,
            uploaded=self._uploaded,
            wake=self._wake,
            unreadable=self._unreadable,
        )
        replica = ReplicaLane(self._config, self._hub, self._line, self._sender)
        health = HealthDesk(self._config, self._line, self._base)
        log.info("forward starts", interface=self._config.hub.interface)
        early = EarlyDesk(self._line, self._desk, self._book, self._base, self._wake)
        work = (
            self._line.keep(),
            self._hub.measure(),
            self._sender.run(),
            verdicts.run(),
            early.tell(),
            early.ask(),
            self._report_for_ever(),
        )
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in (*work, health.run(), replica.run())]
            await self._look_until(stop)
            for task in tasks:
                task.cancel()
        if news := self._news():
            with contextlib.suppress(sqlite3.OperationalError):  # it was for people alone; a full disk stops no end
                await self._desk.once(self._desk.outbox.report, *news, now_ms())

    async def _look_until(self, stop: threading.Event) -> None:
        """Wakes the sender when any process wrote to the queue."""
        watch = open_database(self._config.data, read_only=True)
        try:
            seen = None
            while not stop.is_set():
                version = _version(watch)
                if version != seen:
                    seen = version
                    self._wake.set()
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            watch.close()

    async def _report_for_ever(self) -> None:
        while True:
            await self._report()
            await self._compare_keys()
            await self._desk.do(self._desk.outbox.call_whole, now_ms())
            await asyncio.sleep(REPORT_SECONDS)

    async def _compare_keys(self) -> None:
        """The hub says its key for sticks: one that is not the pinned one is never used, and always told."""
        key = self._line.courier_key
        if not key or key == self._courier_key:
            return
        self._courier_key = key
        await self._desk.do(self._desk.outbox.hub_said_key, key, now_ms())
        if self._config.courier.hub_key not in {"", key}:
            log.warning("the hub says another key for sticks than [courier] hub_key", error_id=CourierKeyError.id)

    async def _report(self) -> None:
        """Progress and the line for the page, and a sign of life; written only when there is something to say."""
        if news := self._news():
            await self._desk.do(self._desk.outbox.report, *news, now_ms())

    def _news(self) -> tuple[list[Progress], LinkRow, Weight, str | None] | None:
        progress, row, now = self._sender.take_progress(), self._line.row, time.monotonic()
        if self._unreadable and not row.problem:
            row = msgspec.structs.replace(row, problem=UnreadableFileError.id)
        row = msgspec.structs.replace(row, held=json.dumps([int(priority) for priority in self._sender.held]))
        beats = now - self._beaten >= BEAT_SECONDS
        if not progress and not beats and row == self._reported:
            return None
        weight = self._hub.meter.take()
        self._reported = row
        self._beaten = now if beats else self._beaten
        return progress, row, weight, self._status(row) if beats else None

    def _status(self, row: LinkRow) -> str:
        if self._desk.waits:
            return WAITING
        if row.problem == LinkError.id:
            return "waiting for the line"
        if row.problem == HubRefusedError.id:
            return "refused by the hub"
        if self._unreadable:
            return f"can't read a parcel: {self._unreadable.reason}"
        return "sending" if self._sender.is_sending else "ready"


def _version(watch: sqlite3.Connection) -> int | None:
    """Another number whenever a process wrote to the queue; None while that can't be told."""
    try:
        return int(watch.execute("PRAGMA data_version").fetchone()[0])
    except sqlite3.Error as error:
        if not may_pass(error):
            raise
        return None
