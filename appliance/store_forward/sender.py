"""Parcels on their way to the hub: which are in hand, and what happens to each between the queue and the last byte."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import time
from dataclasses import dataclass, field
from typing import Final

from appliance.clock import now_ms
from appliance.compress.faults import is_gone
from appliance.config import Link
from appliance.errors import LinkError
from appliance.logs import get_logger
from appliance.model.priority import Priority
from appliance.model.retry import Fault, Retry, Tries, after_fault, after_progress
from appliance.store_forward.desk import Desk
from appliance.store_forward.hub_line import HubLine
from appliance.store_forward.outbox import Parcel, Progress
from appliance.store_forward.schedule import Candidate, Conditions, Debt, OnLine, Stage, plan
from appliance.store_forward.transport import Body, HubClient
from appliance.store_forward.unreadable import Unreadable
from appliance.upload.client import Answer, State, Upload
from appliance.upload.headers import parcel_metadata

UPLOADS_PATH: Final = "/v1/uploads"
_AHEAD: Final = 4  # uploads opened before their turn
_ANSWERS_MAX: Final = 5  # bodies that were sent and whose answers are awaited
_CANDIDATES: Final = 8  # of each priority
_SHORTEST: Final = 0.05  # seconds between two decisions that nothing woke
_UNREADABLE_MAX: Final = 8  # with so many files that can't be read it is the disk, and no further one is tried

log = get_logger()


@dataclass(eq=False)
class _Sending:
    """A parcel in hand."""

    parcel: Parcel
    upload: Upload
    tries: Tries
    reads: Tries = field(default_factory=Tries)  # of its file
    not_before: float = 0.0  # monotonic seconds
    busy: bool = False  # a request for it is under way
    body: Body | None = None
    started_at: int = 0  # offset where the body began
    reported: int = 0  # bytes of the body that the queue knows of
    counted: int = 0  # bytes of the body that the debt knows of
    trickles: bool = False  # it is on the line to be paid what is owed
    stat: bool = False

    @property
    def position(self) -> int:
        """Where in the parcel the body is."""
        return self.started_at + (self.body.sent if self.body else 0)


class Sender:
    """`wake` is set by anything that may change the turn; `uploaded` is told when a parcel waits for its verdict."""

    def __init__(
        self,
        hub: HubClient,
        line: HubLine,
        desk: Desk,
        base: str,
        retry_seconds_max: float,
        link: Link,
        *,
        wake: asyncio.Event,
        uploaded: asyncio.Event,
        unreadable: Unreadable,
    ) -> None:
        self._hub, self._line, self._desk, self._unreadable = hub, line, desk, unreadable
        self._endpoint = base + UPLOADS_PATH
        self._retry_seconds_max, self._link = retry_seconds_max, link
        self._wake, self._uploaded = wake, uploaded
        self._hand: dict[int, _Sending] = {}
        self._on_line: _Sending | None = None
        self._sent: list[Progress] = []
        self._debt, self._behind, self._waits = Debt(), False, False
        self._may_go = frozenset(Priority)
        self._changes = 0  # of what is in hand; a decision about what has changed since is made again

    async def run(self) -> None:
        """Sends for ever."""
        async with asyncio.TaskGroup() as group:
            while True:
                await self._line.open.wait()
                self._wake.clear()
                pause = await self._turn(group)
                try:
                    await asyncio.wait_for(self._wake.wait(), pause)
                except TimeoutError:
                    continue

    @property
    def is_sending(self) -> bool:
        """A body is on the line."""
        return self._on_line is not None

    @property
    def wants_line(self) -> bool:
        """A body is on the line, or could be."""
        return self._on_line is not None or self._waits

    @property
    def held(self) -> list[Priority]:
        """The priorities that a rule or a pause holds back, as of the last decision."""
        return sorted(set(Priority) - self._may_go)

    def take_progress(self) -> list[Progress]:
        """What was sent since the last call."""
        found, self._sent = self._sent, []
        for item in self._hand.values():
            if item.body is not None and item.body.sent > item.reported:
                found.append(_progress(item, item.body, item.started_at + item.body.acknowledged))
        return found

    async def _turn(self, group: asyncio.TaskGroup) -> float:
        """Decides and starts; seconds until it must be decided again at the latest."""
        now, changes, current = time.monotonic(), self._changes, self._on_line
        passed = [number for number, item in self._hand.items() if item.body is not None or item.not_before > now]
        use = await self._desk.do(self._desk.outbox.use, now_ms())
        rows = await self._desk.do(self._desk.outbox.candidates, passed, _CANDIDATES)
        on_line = await self._standing(current)
        if self._changes != changes:
            return 0.0
        self._count(current)
        self._hub.pacer.cap, self._may_go = use.allowance.rate, use.allowance.may_go
        self._forget({candidate.parcel for candidate, _ in rows}, now)
        if len(self._unreadable) >= _UNREADABLE_MAX:
            rows = [(candidate, parcel) for candidate, parcel in rows if parcel.id in self._hand]
        conditions = self._conditions()
        decided = plan([c for c, _ in rows], self._stages(), on_line, conditions)
        self._behind = decided.behind
        self._waits = any(candidate.priority in self._may_go for candidate, _ in rows)
        if current is not None and current.body is not None and (decided.give_way or on_line is None):
            current.body.stop()
        parcels = {candidate.parcel: (candidate, parcel) for candidate, parcel in rows}
        for number in decided.prepare if self._line.open_after <= now else ():
            self._take_up(*parcels[number])
            self._start(group, self._hand[number])
        if decided.stream is not None and self._answers() < _ANSWERS_MAX and self._line.send_after <= now:
            item = self._hand[decided.stream]
            item.trickles, item.stat = decided.trickles, parcels[decided.stream][0].priority is Priority.STAT
            self._start(group, item)
        times = [self._line.open_after, self._line.send_after, *(item.not_before for item in self._hand.values())]
        return min([at - now for at in [now + 1.0, *times] if at > now] + self._until_change())

    async def _standing(self, item: _Sending | None) -> OnLine | None:
        """Where the parcel on the line stands now; None when there is none, or the hub has enough of it."""
        if item is None:
            return None
        candidate = await self._desk.do(self._desk.outbox.candidate, item.parcel.id, item.position)
        if candidate is None:
            return None
        if item.body is not None:
            item.body.stat = candidate.priority is Priority.STAT
        return OnLine(candidate=candidate, trickles=item.trickles)

    def _conditions(self) -> Conditions:
        aged_before = now_ms() - int(self._link.aging_hours * 3_600_000)
        return Conditions(may_go=self._may_go, aged_before=aged_before, pays=self._debt.paying, ahead=_AHEAD)

    def _count(self, item: _Sending | None) -> None:
        """What the parcel on the line had since the last time is paid, or owed to what waits behind it."""
        if item is None or item.body is None:
            return
        count, item.counted = item.body.sent - item.counted, item.body.sent
        if item.trickles:
            self._debt = self._debt.after_trickle(count)
        elif self._behind:
            self._debt = self._debt.after_front(count, self._link.trickle_share, self._hub.rate.value)

    def _until_change(self) -> list[float]:
        """Seconds until the parcel on the line is through with its preview, or with what is paid to it."""
        item, rate = self._on_line, self._hub.rate.value
        if item is None or not rate:
            return []
        left = [float(item.parcel.preview_bytes - item.position), *([self._debt.bytes] if item.trickles else [])]
        return [max(_SHORTEST, count / rate) for count in left if count > 0]

    def _stages(self) -> dict[int, Stage]:
        return {
            number: Stage.READY if item.upload.state is State.READY and not item.busy else Stage.PREPARING
            for number, item in self._hand.items()
            if item.busy or item.upload.state is State.READY
        }

    def _answers(self) -> int:
        return sum(item.body is not None and item.body.ended for item in self._hand.values())

    def _forget(self, candidates: set[int], now: float) -> None:
        """What is idle and has been overtaken is read from the queue again when its turn comes."""
        for number, item in list(self._hand.items()):
            if not item.busy and item.not_before <= now and number not in candidates:
                self._let_go(number)

    def _take_up(self, candidate: Candidate, parcel: Parcel) -> None:
        if parcel.id not in self._hand:
            metadata = parcel_metadata(parcel.digest, candidate.priority.word)
            upload = Upload(
                self._endpoint, length=parcel.bytes, metadata=metadata, target=parcel.target, offset=parcel.offset
            )
            self._hand[parcel.id] = _Sending(parcel, upload, Tries(content=parcel.refusals))

    def _start(self, group: asyncio.TaskGroup, item: _Sending) -> None:
        item.busy = True
        try:
            file = os.open(item.parcel.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            group.create_task(self._miss_file(item, error))
            return
        if item.upload.state is not State.READY:
            os.close(file)  # it can be opened: an upload of it is not in vain
            group.create_task(self._prepare(item))
            return
        self._on_line = item
        item.started_at, item.reported, item.counted = item.upload.offset, 0, 0
        pacer = self._hub.pacer
        item.body = Body(file, item.upload.offset, item.parcel.bytes, pacer=pacer, on_end=self._free_line)
        item.body.stat = item.stat
        group.create_task(self._send(item, item.body, file))

    def _free_line(self) -> None:
        self._count(self._on_line)
        self._on_line = None
        self._changes += 1
        self._wake.set()

    async def _prepare(self, item: _Sending) -> None:
        """Opens the upload, or asks how far it is."""
        while item.not_before <= time.monotonic() and item.upload.state in {State.NEW, State.UNSURE}:
            request = item.upload.next_request()
            if request is None:
                break
            try:
                answer, _ = await self._line.ask(request, seconds=0.0, ahead=self._on_line is None)
            except LinkError:
                await self._conclude(item, None)
            else:
                await self._conclude(item, answer)
            if not self._line.open.is_set():
                break
        item.busy = False
        self._wake.set()

    async def _send(self, item: _Sending, body: Body, file: int) -> None:
        """One body, from the offset that the hub gave to where it ends, and the hub's answer to it."""
        request = item.upload.next_request()
        answer = None
        try:
            if request is not None:
                answer = await self._line.stream(request, body)
        except LinkError:
            answer = None
        finally:
            os.close(file)  # the body has ended and reads no more
            self._sent.append(_progress(item, body, 0))
        await self._conclude(item, answer)
        item.body = None
        if body.broken:
            await self._give_up_file(item)
        elif body.fault is not None:
            await self._miss_file(item, body.fault)
        elif body.sent:
            item.reads = Tries()
            self._unreadable.forget(item.parcel.id)
        item.busy = False
        self._wake.set()

    async def _conclude(self, item: _Sending, answer: Answer | None) -> None:
        """Takes the answer, or that none came: into the queue, and into the time of the next try."""
        upload, was, before = item.upload, item.upload.state, item.upload.offset
        fault = upload.cut() if answer is None else upload.receive(answer)
        if fault is None and upload.state is State.LOST:
            fault = Fault.LINK
        if fault is None and was is State.SENDING and item.body and item.body.sent and upload.offset <= before:
            fault = Fault.BUSY  # it took the bytes and keeps none of them
        elif upload.offset > before:
            item.tries = after_progress(item.tries)
            self._line.moved()
        again = self._after(item.tries, fault, answer, was)
        await self._record(item, was, answer, give_up=again is not None and again.give_up)
        if again is not None:
            item.tries, item.not_before = again.tries, time.monotonic() + again.seconds
        self._changes += 1

    def _after(self, tries: Tries, fault: Fault | None, answer: Answer | None, was: State) -> Retry | None:
        if fault is None:
            return None
        if fault is Fault.REFUSED:
            self._line.refused()
        if fault is Fault.BUSY and answer is not None:
            self._line.busy(answer, sending=was is State.SENDING)
        asked = answer.retry_after if answer else None
        longest = self._retry_seconds_max
        return after_fault(tries, fault, chance=random.random(), seconds_max=longest, asked=asked)  # noqa: S311 - jitter

    async def _record(self, item: _Sending, was: State, answer: Answer | None, *, give_up: bool) -> None:
        """What the hub said becomes facts of the queue."""
        outbox, upload, number = self._desk.outbox, item.upload, item.parcel.id
        if upload.state in {State.READY, State.FINISHED} and was is State.CREATING:
            await self._desk.do(outbox.opened, number, upload.target, upload.offset, now_ms())
        elif upload.state is State.READY:
            await self._desk.do(outbox.held, number, upload.offset)
        if upload.state is State.FINISHED:
            await self._desk.do(outbox.uploaded, number, now_ms())
            self._let_go(number)
            self._uploaded.set()
        refusal = f"status {answer.status}" if answer is not None and upload.state is State.REJECTED else ""
        if give_up:
            await self._quarantine(item, refusal or "content")
        elif upload.state in {State.LOST, State.REJECTED}:
            await self._desk.do(outbox.forgotten, number, refusal=refusal)
            upload.restart()

    async def _quarantine(self, item: _Sending, refusal: str) -> None:
        self._let_go(item.parcel.id)
        count = await self._desk.do(self._desk.outbox.quarantine, item.parcel, refusal, now_ms())
        log.error("the hub can't take a parcel", parcel=item.parcel.id, count=count, reason=refusal)
        await self._terminate(item)

    def _let_go(self, number: int) -> None:
        self._hand.pop(number, None)
        self._unreadable.forget(number)

    async def _miss_file(self, item: _Sending, error: OSError) -> None:
        """Its file can't be opened or read: when it is there it waits and is tried again, for ever."""
        if is_gone(error):
            await self._give_up_file(item)
            return
        again = after_fault(item.reads, Fault.BUSY, chance=random.random(), seconds_max=0.0)  # noqa: S311 - jitter
        item.reads, item.not_before = again.tries, time.monotonic() + again.seconds
        self._unreadable.note(item.parcel.id, error)
        item.busy = False
        self._changes += 1
        self._wake.set()

    async def _give_up_file(self, item: _Sending) -> None:
        """Its file is gone or shorter than it was: what it held is packed anew."""
        if item.upload.state is not State.FINISHED:
            await self._desk.do(self._desk.outbox.give_up_file, item.parcel, now_ms())
            log.error("a parcel's file is gone or cut short", parcel=item.parcel.id)
            await self._terminate(item)
        self._let_go(item.parcel.id)
        self._changes += 1
        self._wake.set()

    async def _terminate(self, item: _Sending) -> None:
        """Asks the hub to forget an upload that will never be whole; it would by itself in time."""
        request = item.upload.terminate()
        if request is not None:
            with contextlib.suppress(LinkError):
                await self._line.ask(request, seconds=0.0)


def _progress(item: _Sending, body: Body, progress: int) -> Progress:
    sent, item.reported = body.sent - item.reported, body.sent
    return Progress(parcel=item.parcel.id, progress=progress, sent=sent)
