"""One request at a time writes to an upload, and the newest wins."""

from __future__ import annotations

import asyncio

import pytest

from appliance.hub.intake import Hold, Holds
from appliance.upload.server import TusError


async def _until(fact: object) -> None:
    for _ in range(1000):
        if fact():  # type: ignore[operator]
            return
        await asyncio.sleep(0)
    raise AssertionError("it never became so")


def test_a_newer_request_ends_the_older_and_waits_for_its_last_byte():
    async def story() -> list[str]:
        holds, events = Holds(), list[str]()

        async def older() -> None:
            async with holds.take("u") as hold:
                await hold.ended.wait()
                await asyncio.sleep(0.01)  # the last fsync
                events.append("older is safe")

        task = asyncio.create_task(older())
        await _until(lambda: holds.is_held("u"))
        async with holds.take("u"):
            events.append("newer has it")
        await task
        assert not holds.is_held("u")
        return events

    assert asyncio.run(story()) == ["older is safe", "newer has it"]


def test_of_many_that_come_at_once_the_last_gets_it_and_the_others_are_told():
    async def story() -> tuple[list[int], list[int]]:
        holds, got, told = Holds(), list[int](), list[int]()

        async def first() -> None:
            async with holds.take("u") as hold:
                await hold.ended.wait()
                await asyncio.sleep(0.01)

        async def later(number: int) -> None:
            try:
                async with holds.take("u"):
                    got.append(number)
            except TusError as error:
                told.append(number if error.answer.status == 423 else -1)

        task = asyncio.create_task(first())
        await _until(lambda: holds.is_held("u"))
        await asyncio.gather(*(later(number) for number in range(5)), task)
        assert not holds.is_held("u")
        return got, sorted(told)

    assert asyncio.run(story()) == ([4], [0, 1, 2, 3])


def test_uploads_do_not_wait_for_each_other():
    async def story() -> None:
        holds = Holds()
        async with holds.take("a"), holds.take("b") as hold:
            assert not hold.ended.is_set()

    asyncio.run(story())


def test_a_request_that_is_cancelled_while_it_waits_does_not_let_the_next_one_in_early():
    async def story() -> list[str]:
        holds, events = Holds(), list[str]()
        may_end = asyncio.Event()

        async def first() -> None:
            async with holds.take("u"):
                await may_end.wait()
                events.append("first is safe")

        async def take(name: str) -> None:
            async with holds.take("u"):
                events.append(name)

        one = asyncio.create_task(first())
        await _until(lambda: holds.is_held("u"))
        two = asyncio.create_task(take("second"))
        await asyncio.sleep(0)
        two.cancel()
        with pytest.raises(asyncio.CancelledError):
            await two
        three = asyncio.create_task(take("third"))
        await asyncio.sleep(0.01)
        assert events == []
        may_end.set()
        await asyncio.gather(one, three)
        return events

    assert asyncio.run(story()) == ["first is safe", "third"]


def test_the_end_of_the_hub_ends_every_hold():
    async def story() -> None:
        holds, seen = Holds(), list[Hold]()
        async with holds.take("a") as one, holds.take("b") as two:
            holds.end_all()
            seen += [one, two]
        assert all(hold.ended.is_set() for hold in seen)

    asyncio.run(story())
