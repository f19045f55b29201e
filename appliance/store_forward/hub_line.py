"""The line to the hub as one gate: open when the hub answered and accepts this unit; else one probe asks, for ever.

Every request of this process goes through here, so that what it tells of the line is known in one place.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import Final, NamedTuple

import msgspec

from appliance.clock import now_ms
from appliance.config import UnitConfig, read_secret
from appliance.courier.cipher import PUBLIC_KEY
from appliance.errors import ConfigError, HubBusyError, HubFaultError, HubRefusedError, LinkError
from appliance.link.line import Line, after_answer, after_fault, hail_pause
from appliance.logs import get_logger
from appliance.model import retry
from appliance.model.receipt import Hello, read_answer
from appliance.model.retry import Fault, Tries, after_progress
from appliance.store_forward.connections import UnreachableError
from appliance.store_forward.outbox import LinkRow
from appliance.store_forward.transport import Body, HubClient
from appliance.upload.client import Answer, Request, fault_of

HELLO_SECONDS: Final = 30.0
_INTERFACE_SECONDS: Final = 0.5
_SHORTEST_PAUSE: Final = 0.05
_NAME_MAX: Final = 100
_HAILS_MAX: Final = 8  # greetings under way at once
_AT_ONCE: Final = 1.0  # a greeting that fails sooner was turned away: the line carries, and asking soon again is no use

log = get_logger()


class _Greeting(NamedTuple):
    """What came of one, and the seconds until the next should follow."""

    pause: float
    answered: bool = False


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
        hub.on_silence = self._kick.set

    async def ask(
        self, request: Request, *, seconds: float, limit: int = 4096, ahead: bool = False
    ) -> tuple[Answer, bytes]:
        """A request without a body (`HubClient.ask`). Raises LinkError."""
        started = time.monotonic()
        longest = self._config.hub.stall_seconds + seconds
        try:
            found = await self._hub.ask(request, seconds=longest, limit=limit, ahead=ahead)
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
        """Greets the hub for ever: every half minute while all is well, and again and again when it does not answer."""
        while True:
            self._kick.clear()
            if not self._line.up:
                self.open.clear()
                await self._hub.close()  # a connection that outlived an outage would only wait for its own time-outs
            if self._line.up and not self._hub.is_silent:
                pause = (await self._greet()).pause
            else:
                pause = await self._hail()
            try:
                await asyncio.wait_for(self._kick.wait(), max(pause, _SHORTEST_PAUSE))
            except TimeoutError:
                continue

    async def _hail(self) -> float:
        """Greets a line that says nothing, until it answers or is down. Seconds until the next greeting.

        Each greeting has a connection of its own, of which the body that follows makes use. A body that is silent
        still when one is answered is cut: it goes on from what the hub has, sooner than TCP would try again.
        """
        began, was_up = time.monotonic(), self._line.up
        waiting: list[asyncio.Task[_Greeting]] = []
        await self._hub.renew()
        try:
            while True:
                started = time.monotonic()
                waiting.append(asyncio.create_task(self._greet(ahead=True)))
                if len(waiting) > _HAILS_MAX:
                    waiting.pop(1).cancel()  # the oldest is kept: a very slow line needs its patience
                pause = hail_pause(started - began, self._config.hub.retry_seconds_max, chance=random.random())  # noqa: S311 - jitter
                ended = await _until_one_ends(waiting, started + pause)
                for greeting in ended:
                    if greeting.answered:
                        self._hub.cut_silent()
                        return greeting.pause
                if was_up and not self._line.up:
                    return 0.0  # all that is under way is cut first
                if ended:
                    await asyncio.sleep(max(0.0, max(g.pause for g in ended) - (time.monotonic() - started)))
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def _greet(self, *, ahead: bool = False) -> _Greeting:
        started, asked_at = time.monotonic(), now_ms()
        request = Request(method="GET", target=f"{self._base}/v1/hello", headers={})
        try:
            answer, content = await self.ask(request, seconds=0.0, ahead=ahead)
        except UnreachableError:
            return _Greeting(_INTERFACE_SECONDS)
        except LinkError:
            again = self._again(Fault.LINK)
            return _Greeting(again if time.monotonic() - started < _AT_ONCE else 0.0)
        return _Greeting(self._heard(answer, content, (time.monotonic() - started) * 1000, asked_at), answered=True)

    def _heard(self, answer: Answer, content: bytes, round_trip_ms: float, asked_at: int) -> float:
        """Seconds until the next greeting."""
        if answer.status != 200:
            return self._turned_away(answer)
        hello = read_answer(content, Hello)
        if hello is None:
            self.false_answer()
            self.open.clear()
            return self._again(Fault.BUSY)
        self._welcome(hello, round_trip_ms, asked_at)
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


async def _until_one_ends(waiting: list[asyncio.Task[_Greeting]], until: float) -> list[_Greeting]:
    """What those say that ended first, taken from the list; none when none did `until` then (monotonic seconds)."""
    done, _ = await asyncio.wait(
        waiting, timeout=max(0.0, until - time.monotonic()), return_when=asyncio.FIRST_COMPLETED
    )
    waiting[:] = [task for task in waiting if task not in done]
    return [task.result() for task in done]
