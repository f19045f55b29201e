"""A request's body as batches that are worth an fsync each, and the reasons why it may end early."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from enum import StrEnum
from typing import Any, Final

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from appliance.hub.intake import FLUSH_BYTES, FLUSH_SECONDS

FIRST_SECONDS: Final = 0.1  # a body that goes on after a cut is worth an fsync soon: the next cut may be near

# RuntimeError: what a StreamReader raises when it is read after its connection closed.
_CUT = (OSError, aiohttp.ClientError, HttpProcessingError, EOFError, RuntimeError)


class Reason(StrEnum):
    CUT = "cut"  # the connection broke, or the body breaks HTTP
    SILENT = "silent"  # no byte came for too long
    ENDED = "ended"  # a newer request took over, or the hub stops


class EndedEarlyError(Exception):
    """The body is not whole; what came before was handed out."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


async def batches(
    content: aiohttp.StreamReader, ended: asyncio.Event, silence_seconds: float
) -> AsyncGenerator[bytes, None]:
    """Yields what came whenever it is FLUSH_BYTES or FLUSH_SECONDS old (the first of it FIRST_SECONDS), and at the end.

    However slow the bytes are, it waits for more; it raises EndedEarlyError only when none came for
    `silence_seconds`, when the connection is cut, or when `ended` is set: after it yielded the bytes before that.
    """
    pulse = _Pulse(silence_seconds)
    pending = bytearray()
    ending: asyncio.Future[Any] = asyncio.ensure_future(ended.wait())
    reading: asyncio.Future[Any] | None = None
    reason: Reason | None = None
    whole = False
    try:
        while not whole and reason is None:
            reading = reading or asyncio.ensure_future(content.readany())
            timeout = pulse.patience(bool(pending))
            await asyncio.wait({reading, ending}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                chunk, reading = _result(reading), None
                if chunk is None:
                    reason, chunk = Reason.CUT, _unread(content)
                else:
                    whole = not chunk
                pulse.heard(first=not pending)
                pending += chunk
            elif ending.done() or pulse.is_silent():
                reason = Reason.ENDED if ending.done() else Reason.SILENT
            if pending and (whole or reason or len(pending) >= FLUSH_BYTES or pulse.is_due()):
                yield bytes(pending)
                pending.clear()
                pulse.flushed()
        if reason:
            raise EndedEarlyError(reason)
    finally:
        ending.cancel()
        if reading is not None:
            reading.cancel()


class _Pulse:
    """When bytes were last heard, and since when some wait for their flush. Monotonic seconds."""

    def __init__(self, silence_seconds: float) -> None:
        self._silence = silence_seconds
        self._now = asyncio.get_running_loop().time
        self._heard = self._since = self._now()
        self._keeps = FIRST_SECONDS

    def heard(self, *, first: bool) -> None:
        self._heard = self._now()
        self._since = self._heard if first else self._since

    def flushed(self) -> None:
        """The peer is not to blame for the time that the disk took."""
        self._heard = self._now()
        self._keeps = FLUSH_SECONDS

    def patience(self, pending: bool) -> float:
        silent_at = self._heard + self._silence
        until = min(silent_at, self._since + self._keeps) if pending else silent_at
        return max(0.0, until - self._now())

    def is_silent(self) -> bool:
        return self._now() >= self._heard + self._silence

    def is_due(self) -> bool:
        return self._now() >= self._since + self._keeps


def _unread(content: aiohttp.StreamReader) -> bytes:
    """What came before the cut and was not read yet: the reader still has it, but would only raise."""
    content.set_exception(None)  # type: ignore[arg-type]
    return content.read_nowait()


def _result(reading: asyncio.Future[Any]) -> bytes | None:
    """The bytes read; empty at the end of the body; None when the connection was cut."""
    if reading.cancelled():  # aiohttp's way to say that its server stops
        return None
    try:
        return bytes(reading.result())
    except _CUT:
        return None
