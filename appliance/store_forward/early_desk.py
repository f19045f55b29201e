"""Tells the hub of studies before they are there, and asks it what it wishes. Small requests, ahead of all bodies.

Notices take a small share of the line at most, however many studies wait after an outage; only a stat study's is never
kept waiting. The question for wishes stays open at the hub, so that a wish is here within a round trip.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

from appliance.clock import now_ms
from appliance.errors import LinkError
from appliance.logs import get_logger
from appliance.model.notice import Wishes
from appliance.model.priority import Priority
from appliance.model.receipt import read_answer
from appliance.model.retry import Fault
from appliance.store_forward.desk import Desk
from appliance.store_forward.early import EarlyBook, Notice
from appliance.store_forward.hub_line import HubLine
from appliance.upload.client import Answer, Request, fault_of

_LOOK_SECONDS: Final = 1.0
_AGAIN_SECONDS: Final = 5.0  # between two notices in which only the estimate may be new
_SHARE: Final = 0.1  # of the line, for notices
_SLOWEST: Final = 4_000.0  # bytes a second of a line of which nothing is known
_HEADERS: Final = 300  # bytes of a request beside its body, about
_WAIT_SECONDS: Final = 30  # the hub may hold a question for wishes so long
_FAULT_SECONDS: Final = 60.0  # a hub that does not know what is asked
_PAUSE_SECONDS: Final = 1.0
_ANSWER_MAX: Final = 128 << 10

log = get_logger()


class EarlyDesk:
    """`wake` is told when a wish changed the turn. `rate()`: bytes a second that the line carries; 0: not known."""

    def __init__(self, line: HubLine, desk: Desk, book: EarlyBook, base: str, wake: asyncio.Event) -> None:
        self._line, self._desk, self._book, self._base, self._wake = line, desk, book, base, wake
        self._again_at = self._free_at = 0.0  # monotonic seconds

    async def tell(self) -> None:
        """Sends notices for ever."""
        while True:
            await self._line.open.wait()
            now = time.monotonic()
            notice = await self._desk.do(self._book.next_notice, now_ms(), again=now >= self._again_at)
            if notice is None:
                await asyncio.sleep(_LOOK_SECONDS)
            elif now < self._free_at and notice.priority > Priority.STAT:
                await asyncio.sleep(min(_LOOK_SECONDS, self._free_at - now))
            else:
                self._again_at = now + _AGAIN_SECONDS
                await asyncio.sleep(await self._send(notice))

    async def _send(self, notice: Notice) -> float:
        """Seconds before the next look."""
        target = f"{self._base}/v1/studies/{notice.study_instance_uid}"
        headers = {"Content-Type": "application/json"}
        request = Request(method="PUT", target=target, headers=headers, content=notice.body)
        try:
            answer, _ = await self._line.ask(request, seconds=0.0)
        except LinkError:
            return _PAUSE_SECONDS
        if answer.status == 204:
            await self._desk.do(self._book.told, notice, now_ms())
            seconds = (_HEADERS + len(notice.body)) / (_SHARE * (self._line.row.rate or _SLOWEST))
            self._free_at = time.monotonic() + seconds
            return 0.0
        if fault_of(answer.status) is Fault.CONTENT:  # it will never take this one: the study goes without
            await self._desk.do(self._book.told, notice, now_ms())
            log.warning("the hub does not take a notice", status=answer.status)
            return _PAUSE_SECONDS
        return self._turned_away(answer)

    async def ask(self) -> None:
        """Asks for wishes for ever."""
        while True:
            await self._line.open.wait()
            await asyncio.sleep(await self._ask())

    async def _ask(self) -> float:
        """Seconds before the next question."""
        known = await self._desk.do(self._book.known)
        target = f"{self._base}/v1/wishes?after={known}&wait={_WAIT_SECONDS}"
        request = Request(method="GET", target=target, headers={})
        try:
            answer, content = await self._line.ask(request, seconds=_WAIT_SECONDS, limit=_ANSWER_MAX)
        except LinkError:
            return _PAUSE_SECONDS
        if answer.status != 200:
            return self._turned_away(answer)
        found = read_answer(content, Wishes)
        if found is None:
            self._line.false_answer()
            return _FAULT_SECONDS
        await self._desk.do(self._book.take, found, now_ms())
        if found.wishes:
            log.info("the hub wishes", count=len(found.wishes))
            self._wake.set()
        return 0.0 if found.wishes else _PAUSE_SECONDS / 10

    def _turned_away(self, answer: Answer) -> float:
        if fault_of(answer.status) is Fault.REFUSED:
            self._line.refused()
        return _FAULT_SECONDS if answer.retry_after is None else min(max(answer.retry_after, 1.0), _FAULT_SECONDS)
