"""The outbox in a thread of its own, so that a slow disk or a busy database never stops a transfer.

A database that can't be written now, because the disk is full or fails, is waited for: whoever has a fact to write
stands still until it is written, and so asks the hub for no more than a few at once. What the hub said is not
forgotten meanwhile.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from appliance.store_forward.full_disk import PAUSE_SECONDS, Wait, may_pass
from appliance.store_forward.journal import database_error
from appliance.store_forward.outbox import Outbox

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Desk:
    """`thread` has one worker, the only one that may touch `outbox`."""

    def __init__(self, outbox: Outbox, thread: ThreadPoolExecutor) -> None:
        self.outbox, self._thread = outbox, thread
        self._wait = Wait("the queue")
        self._waiting = 0  # calls of `do`

    @property
    def waits(self) -> bool:
        """Something can't be written now."""
        return self._waiting > 0

    async def do(self, what: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Runs a method of the outbox there, and returns what it returns, as soon as the disk lets it.

        Each method is one transaction: nothing of one that failed stays.
        """
        try:
            return await self.once(what, *args, **kwargs)
        except sqlite3.Error as error:
            self._raise_or_say(error)
        self._waiting += 1
        try:
            done = await self._insist(lambda: what(*args, **kwargs))
        finally:
            self._waiting -= 1
        if not self._waiting:
            self._wait.end()
        return done

    async def once(self, what: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """The same, tried once. Raises sqlite3.Error.

        A transaction that began ends even when we are cancelled meanwhile.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: what(*args, **kwargs))

    async def _insist(self, what: Callable[[], _T]) -> _T:
        while True:
            await asyncio.sleep(PAUSE_SECONDS)
            try:
                return await self.once(what)
            except sqlite3.Error as error:
                self._raise_or_say(error)

    def _raise_or_say(self, error: sqlite3.Error) -> None:
        if not may_pass(error):
            raise error
        self._wait.begin(database_error(error))
