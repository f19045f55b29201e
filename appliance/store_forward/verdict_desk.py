"""Asks the hub for its verdict on every parcel that it holds whole, and makes receipts facts of the queue."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Final

from appliance.clock import now_ms
from appliance.compress.faults import is_gone
from appliance.errors import LinkError
from appliance.logs import get_logger
from appliance.model.receipt import ParcelVerdict, Refusal, Verdict, read_answer
from appliance.model.retry import Fault
from appliance.store_forward.desk import Desk
from appliance.store_forward.hub_line import HubLine
from appliance.store_forward.outbox import Parcel
from appliance.store_forward.unreadable import Unreadable
from appliance.store_forward.verdicts import Settlement, Step, settle
from appliance.upload.client import Answer, Request, fault_of

_AT_ONCE: Final = 5
_WAIT_SECONDS: Final = 10  # the hub may hold an answer so long
_LEAST_SECONDS: Final = 0.5  # between two questions about one parcel
_FAULT_SECONDS: Final = 15.0
_FORGOT_SECONDS: Final = 60.0  # before a parcel that the hub forgot more than once is sent again
_ANSWER_MAX: Final = 16384
_RECEIPT_MAX: Final = 512

log = get_logger()


class VerdictDesk:
    """`uploaded` is set when a parcel begins to wait for its verdict; `wake` is told when one is to be sent again."""

    def __init__(
        self,
        line: HubLine,
        desk: Desk,
        base: str,
        *,
        uploaded: asyncio.Event,
        wake: asyncio.Event,
        unreadable: Unreadable,
    ) -> None:
        self._line, self._desk, self._base, self._unreadable = line, desk, base, unreadable
        self._uploaded, self._wake = uploaded, wake
        self._asking: set[int] = set()
        self._after = 0  # the parcel asked last; the round goes on behind it
        self._forgot: dict[int, int] = {}  # parcel → how often the hub forgot it in this life of the process

    async def run(self) -> None:
        """Asks for ever, a few at once, each in its turn."""
        async with asyncio.TaskGroup() as group:
            while True:
                await self._line.open.wait()
                self._uploaded.clear()
                for parcel in await self._next():
                    self._asking.add(parcel.id)
                    self._after = parcel.id
                    group.create_task(self._ask_until_told(parcel))
                try:
                    await asyncio.wait_for(self._uploaded.wait(), 1.0)
                except TimeoutError:
                    continue

    async def _next(self) -> list[Parcel]:
        free = _AT_ONCE - len(self._asking)
        if free <= 0:
            return []
        found = await self._desk.do(self._desk.outbox.to_verify, self._after, self._asking, free)
        if not found and self._after:
            self._after = 0
            found = await self._desk.do(self._desk.outbox.to_verify, 0, self._asking, free)
        return found

    async def _ask_until_told(self, parcel: Parcel) -> None:
        pause = await self._ask(parcel)
        await asyncio.sleep(pause)
        self._asking.discard(parcel.id)
        self._uploaded.set()

    async def _ask(self, parcel: Parcel) -> float:
        """Seconds before the parcel is asked for again, if it still must be."""
        outbox = self._desk.outbox
        ours = await self._desk.do(outbox.instances, parcel.id)
        target = f"{self._base}/v1/parcels/{parcel.digest}?wait={_WAIT_SECONDS}"
        limit = _ANSWER_MAX + _RECEIPT_MAX * len(ours)
        try:
            answer, content = await self._line.ask(
                Request(method="GET", target=target, headers={}), seconds=_WAIT_SECONDS, limit=limit
            )
        except LinkError:
            return _LEAST_SECONDS
        if answer.status != 200:
            return self._turned_away(answer)
        verdict = _read(content, parcel)
        if verdict is None:
            self._line.false_answer()
            return _FAULT_SECONDS
        good = None
        if verdict.refusal is Refusal.DIGEST:
            try:
                good = await asyncio.to_thread(_is_good, parcel)
            except OSError as error:
                self._unreadable.note(parcel.id, error)
                return _FAULT_SECONDS
            self._unreadable.forget(parcel.id)
        settlement = settle(verdict, ours, refusals=parcel.refusals, file_is_good=good)
        if settlement.step is Step.WAIT:
            return _LEAST_SECONDS
        if verdict.verdict in {Verdict.UNKNOWN, Verdict.PARTIAL}:
            await self._be_patient(parcel)
        await self._settle(parcel, settlement, verdict)
        return 0.0

    async def _settle(self, parcel: Parcel, settlement: Settlement, verdict: ParcelVerdict) -> None:
        spent = await self._desk.do(self._desk.outbox.settle, parcel, settlement, now_ms())
        if settlement.step is Step.DELIVER:
            self._line.true_answer()
            self._forgot.pop(parcel.id, None)
            log.info("delivered", parcel=parcel.id, count=len(settlement.held), bytes=parcel.bytes)
            return
        if settlement.faulty:
            self._line.false_answer()
        reason = settlement.refusal or str(verdict.verdict)
        log.warning("a parcel came to nothing", parcel=parcel.id, reason=reason, state=settlement.step, count=spent)
        self._wake.set()

    async def _be_patient(self, parcel: Parcel) -> None:
        """A hub that lost its disk, or part of it, gets all again at once; one that always forgets, once a minute."""
        times = self._forgot.get(parcel.id, 0)
        self._forgot[parcel.id] = times + 1
        if times:
            await asyncio.sleep(_FORGOT_SECONDS)

    def _turned_away(self, answer: Answer) -> float:
        if fault_of(answer.status) is Fault.REFUSED:
            self._line.refused()
        asked = answer.retry_after
        return _FAULT_SECONDS if asked is None else min(max(asked, _LEAST_SECONDS), 4 * _FAULT_SECONDS)


def _read(content: bytes, parcel: Parcel) -> ParcelVerdict | None:
    """The verdict; None when these bytes are none, or one on another parcel."""
    verdict = read_answer(content, ParcelVerdict)
    return verdict if verdict is not None and verdict.parcel == parcel.digest else None


def _is_good(parcel: Parcel) -> bool:
    """Our file is there and still has the bytes that its digest names. Raises OSError when that can't be told now."""
    try:
        with parcel.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == parcel.digest
    except OSError as error:
        if not is_gone(error):
            raise
        return False
