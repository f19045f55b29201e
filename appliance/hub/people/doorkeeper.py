"""Logins one after the other, in a thread of their own: a flood of them holds up no upload and no page."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from appliance.clock import now_ms
from appliance.hub.index.database import Index
from appliance.hub.people import logins, passwords, persons
from appliance.hub.people.logins import Wait
from appliance.hub.people.values import Visitor

IN_ALL: Final = 32
OF_ADDRESS: Final = 4
_BUSY: Final = Wait(2000)

T = TypeVar("T")


class Doorkeeper:
    """Checks passwords. `Wait` is the answer when a name or an address has to wait, or too many ask at once."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._asking: Counter[str] = Counter()
        self._thread = ThreadPoolExecutor(1, "hub-login")

    async def log_in(self, name: str, password: str, browser: str, address: str) -> tuple[str, str] | Wait | None:
        """The tokens of session and browser; None when name or password is wrong, whichever it is."""
        return await self._in_turn(address, lambda: self._log_in(name, password, browser, address))

    async def change_password(self, visitor: Visitor, browser: str, old: str, new: str) -> bool | Wait:
        """Whether the old password was right; then it is the new one. Raises BadPersonError when that is weak."""
        return await self._in_turn(visitor.address, lambda: self._change(visitor, browser, old, new))

    def close(self) -> None:
        """Waits for what is being checked."""
        self._thread.shutdown()

    async def _in_turn(self, address: str, call: Callable[[], T]) -> T | Wait:
        if self._asking[address] >= OF_ADDRESS or self._asking.total() >= IN_ALL:
            return _BUSY
        self._asking[address] += 1
        running = asyncio.get_running_loop().run_in_executor(self._thread, call)
        # When it is done, not when the caller goes away: who hangs up takes no second place.
        running.add_done_callback(lambda _: self._leave(address))
        return await asyncio.shield(running)

    def _leave(self, address: str) -> None:
        self._asking[address] -= 1
        if not self._asking[address]:
            del self._asking[address]

    def _log_in(self, name: str, password: str, browser: str, address: str) -> tuple[str, str] | Wait | None:
        with self._index.write() as connection:
            tried = logins.begin(connection, name, browser, address, now_ms())
        if isinstance(tried, Wait):
            return tried
        right = passwords.matches(tried.password_hash, password)
        with self._index.write() as connection:
            person = logins.settle(connection, tried, right, now_ms())
            return logins.start(connection, person, tried, now_ms()) if person else None

    def _change(self, visitor: Visitor, browser: str, old: str, new: str) -> bool | Wait:
        with self._index.write() as connection:
            tried = logins.begin(connection, visitor.name, browser, visitor.address, now_ms())
        if isinstance(tried, Wait):
            return tried
        right = passwords.matches(tried.password_hash, old)
        with self._index.write() as connection:
            person = logins.settle(connection, tried, right, now_ms())
        if person is None:
            return False
        hashed = persons.hashed(new, person.name)
        with self._index.write() as connection:
            persons.change_password(connection, person, hashed, now_ms(), visitor)
        return True
