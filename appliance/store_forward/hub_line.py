"""The line to the hub as one gate: open when the hub answered and accepts this unit; else one probe asks, for ever.

Every request of this process goes through here, so that what it tells of the line is known in one place.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import Final

import msgspec

from appliance.clock import now_ms
from appliance.config import UnitConfig, read_secret
from appliance.courier.cipher import PUBLIC_KEY
from appliance.errors import ConfigError, HubBusyError, HubFaultError, HubRefusedError, LinkError
from appliance.link.line import Line, after_answer, after_fault
from appliance.logs import get_logger
from appliance.model import retry
from appliance.model.receipt import Hello, read_answer
from appliance.model.retry import Fault, Tries, after_progress
from appliance.store_forward.outbox import LinkRow
from appliance.store_forward.transport import Body, HubClient, UnreachableError
from appliance.upload.client import Answer, Request, fault_of

HELLO_SECONDS: Final = 30.0
_INTERFACE_SECONDS: Final = 0.5
_SHORTEST_PAUSE: Final = 0.05
_NAME_MAX: Final = 100

log = get_logger()


class HubLine:
    """`before` is the line as this box last knew it; `wake` is set whenever the gate opens.

    `open` is set while requests may go. After the hub asked for patience, `open_after` and `send_after` (monotonic
    seconds) are when uploads may be opened, and bodies sent.
    """

    def __init__(
        self, config: UnitConfig, hub: HubClient, base: str, before: LinkRow | None, wake: asyncio.Event
    ) -> None:
        self._config, self._hub, self._base, self._wake = config, hub, base, wake
        known = before or LinkRow(up=False, since=now_ms())
        self._line = Line(up=known.up, since=known.since)
        self._row = known
        self.open = asyncio.Event()
        self.courier_key = ""  # the hub's key for sticks, as it said last
        self.open_after = self.send_after = 0.0
        self._kick = asyncio.Event()
        self._tries = Tries()  # of the greeting
        self._patience = Tries()  # of a busy hub
        self._refused = self._faulty = self._no_room = False

    async def ask(self, request: Request, *, seconds: float, limit: int = 4096) -> tuple[Answer, bytes]:
        """A request without a body (`HubClient.ask`). Raises LinkError."""
        started = time.monotonic()
        try:
            found = await self._hub.ask(request, seconds=self._config.hub.stall_seconds + seconds, limit=limit)
        except LinkError as error:
            self._failed(started, error)
            raise
        self._answered()
        return found

    async def stream(self, request: Request, body: Body) -> Answer:
        """A request with a body (`HubClient.stream`). Raises LinkError."""
        started = time.monotonic()
        try:
            answer = await self._hub.stream(request, body)
        except LinkError as error:
            self._failed(max(started, body.moved_at), error)
            raise
        self._answered()
        return answer

    def busy(self, answer: Answer, *, sending: bool) -> None:
        """The hub asks for patience, of those that send or only of those that want to open uploads."""
        again = self._after(self._patience, Fault.BUSY, answer.retry_after)
        self._patience = again.tries
        until = time.monotonic() + again.seconds
        self.open_after = max(self.open_after, until)
        if sending:
            self.send_after = max(self.send_after, until)
        self._no_room = self._no_room or answer.status in {429, 507}

    def moved(self) -> None:
        """The hub took something new."""
        self._patience = after_progress(self._patience)
        self._no_room = False

    def refused(self) -> None:
        """The hub refused a request of ours as not from one of its sites: ask it at once whether it means us."""
        self._kick.set()

    def false_answer(self) -> None:
        """The hub said what can't be true."""
        self._faulty = True

    def true_answer(self) -> None:
        """The hub gave receipts that fit."""
        self._faulty = False

    @property
    def row(self) -> LinkRow:
        """The line for people."""
        rate = self._hub.rate
        return msgspec.structs.replace(
            self._row,
            up=self._line.up,
            since=self._line.since,
            rate=rate.value or self._row.rate,
            rate_spread=rate.spread if rate.value else self._row.rate_spread,
            problem=self._problem(),
        )

    async def keep(self) -> None:
        """Greets the hub for ever: every half minute while all is well, at once and then with jitter when it is not."""
        while True:
            self._kick.clear()
            if not self._line.up:
                self.open.clear()
                await self._hub.close()  # a connection that outlived an outage would only wait for its own time-outs
            pause = await self._greet()
            try:
                await asyncio.wait_for(self._kick.wait(), max(pause, _SHORTEST_PAUSE))
            except TimeoutError:
                continue

    async def _greet(self) -> float:
        """Seconds until the next greeting."""
        started, asked_at = time.monotonic(), now_ms()
        try:
            answer, content = await self.ask(
                Request(method="GET", target=f"{self._base}/v1/hello", headers={}), seconds=0.0
            )
        except UnreachableError:
            return _INTERFACE_SECONDS
        except LinkError:
            return self._again(Fault.LINK)
        if answer.status != 200:
            return self._turned_away(answer)
        hello = read_answer(content, Hello)
        if hello is None:
            self.false_answer()
            self.open.clear()
            return self._again(Fault.BUSY)
        self._welcome(hello, (time.monotonic() - started) * 1000, asked_at)
        return HELLO_SECONDS

    def _welcome(self, hello: Hello, round_trip_ms: float, asked_at: int) -> None:
        self._tries, self._refused = Tries(), False
        if PUBLIC_KEY.fullmatch(hello.courier_key):
            self.courier_key = hello.courier_key
        self._row = msgspec.structs.replace(
            self._row,
            round_trip_ms=round(round_trip_ms, 1),
            hub_name=hello.hub[:_NAME_MAX],
            clock_offset_ms=hello.time - (asked_at + int(round_trip_ms / 2)),
        )
        if not self.open.is_set():
            log.info("the hub answers", seconds=round(round_trip_ms / 1000, 3))
            self.open.set()
        self._wake.set()

    def _turned_away(self, answer: Answer) -> float:
        fault = fault_of(answer.status)
        if fault in {Fault.REFUSED, Fault.CONTENT}:
            if not self._refused:
                log.warning("the hub refuses this unit", status=answer.status, error_id=HubRefusedError.id)
            self._refused = True
            self.open.clear()
            self._read_secret_again()
            return self._again(Fault.REFUSED)
        return self._again(fault, answer.retry_after)

    def _read_secret_again(self) -> None:
        """A new secret that an engineer put into the file is used without a restart."""
        try:
            self._hub.secret = read_secret(self._config)
        except ConfigError as error:
            log.warning("the secret can't be read", error_id=error.id)

    def _again(self, fault: Fault, asked: float | None = None) -> float:
        again = self._after(self._tries, fault, asked)
        self._tries = again.tries
        return again.seconds

    def _after(self, tries: Tries, fault: Fault, asked: float | None) -> retry.Retry:
        longest = self._config.hub.retry_seconds_max
        return retry.after_fault(tries, fault, chance=random.random(), seconds_max=longest, asked=asked)  # noqa: S311 - jitter

    def _answered(self) -> None:
        self._line = after_answer(self._line, now_ms())
        self._row = msgspec.structs.replace(self._row, hub_seen_at=now_ms())

    def _failed(self, started: float, error: LinkError) -> None:
        unreachable = isinstance(error, UnreachableError)
        if self._hub.is_moving() and not unreachable:
            return  # a slow answer beside a transfer that goes on is no outage
        was_up = self._line.up
        self._line = after_fault(self._line, now_ms(), started=started, now=time.monotonic(), unreachable=unreachable)
        if was_up and not self._line.up:
            log.warning("the line is down", reason=error.message, error_id=error.id)
            self._kick.set()
        if not self._line.up:
            self.open.clear()

    def _problem(self) -> str:
        if not self._line.up:
            return LinkError.id
        if self._refused:
            return HubRefusedError.id
        if self._faulty:
            return HubFaultError.id
        return HubBusyError.id if self._no_room else ""
