"""Passwords are checked one after the other, and a flood of logins finds its ceiling."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from support.staff import PASSWORD, add_person

from appliance.hub.index.database import Index
from appliance.hub.people import passwords
from appliance.hub.people.doorkeeper import IN_ALL, OF_ADDRESS, Doorkeeper
from appliance.hub.people.logins import Wait


def with_doorkeeper(index: Index, call: Callable[[Doorkeeper], Awaitable[None]]) -> None:
    async def run() -> None:
        doorkeeper = Doorkeeper(index)
        try:
            await call(doorkeeper)
        finally:
            await asyncio.to_thread(doorkeeper.close)

    asyncio.run(run())


def test_the_right_password_lets_in_and_every_other_does_not(index: Index) -> None:
    add_person(index, "Mary")

    async def call(doorkeeper: Doorkeeper) -> None:
        assert await doorkeeper.log_in("Mary", "not the password", "", "10.0.0.1") is None
        assert await doorkeeper.log_in("Nobody", PASSWORD, "", "10.0.0.1") is None
        begun = await doorkeeper.log_in("mary", PASSWORD, "", "10.0.0.1")
        assert isinstance(begun, tuple)

    with_doorkeeper(index, call)


def test_an_address_has_few_logins_at_once_and_all_together_not_many(index: Index) -> None:
    async def call(doorkeeper: Doorkeeper) -> None:
        tries = [
            doorkeeper.log_in(f"Person {number}", PASSWORD, "", f"10.0.{number // 6}.1")
            for number in range(6 * (IN_ALL // OF_ADDRESS + 2))
        ]
        answers = await asyncio.gather(*tries)
        busy = [isinstance(answer, Wait) for answer in answers]
        assert busy[:6] == [False] * OF_ADDRESS + [True] * 2
        assert busy.count(False) == IN_ALL
        assert await doorkeeper.log_in("Person", PASSWORD, "", "10.0.0.1") is None  # there is room again

    with_doorkeeper(index, call)


def test_who_hangs_up_keeps_the_place_until_the_password_is_checked(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def call(doorkeeper: Doorkeeper) -> None:
        let_go = asyncio.Event()
        loop = asyncio.get_running_loop()

        def slow(kept: str | None, password: str) -> bool:
            asyncio.run_coroutine_threadsafe(let_go.wait(), loop).result()
            return False

        monkeypatch.setattr(passwords, "matches", slow)
        tries = [
            asyncio.ensure_future(doorkeeper.log_in(f"Person {number}", "x", "", "10.0.0.1"))
            for number in range(OF_ADDRESS)
        ]
        await asyncio.sleep(0)
        for each in tries:
            each.cancel()
        await asyncio.gather(*tries, return_exceptions=True)
        assert isinstance(await doorkeeper.log_in("Mary", "x", "", "10.0.0.1"), Wait)
        let_go.set()

    with_doorkeeper(index, call)
