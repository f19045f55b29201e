"""A body in batches: when they are handed out, and why a body may end early."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp.base_protocol import BaseProtocol

from appliance.hub import feed
from appliance.hub.feed import EndedEarlyError, Reason, batches

Write = Callable[[aiohttp.StreamReader, asyncio.Event], Awaitable[None]]


@asynccontextmanager
async def open_body() -> AsyncIterator[aiohttp.StreamReader]:
    """The body of a request whose connection is open."""
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    transport, protocol = await loop.create_connection(lambda: BaseProtocol(loop), sock=ours)
    try:
        yield aiohttp.StreamReader(protocol, 2**16, loop=loop)
    finally:
        transport.close()
        theirs.close()
        await asyncio.sleep(0)


def run(write: Write, silence: float = 5.0) -> tuple[list[bytes], Reason | None]:
    """What `batches` hands out while `write` feeds the body, and why it ended early."""

    async def story() -> tuple[list[bytes], Reason | None]:
        got: list[bytes] = []
        async with open_body() as reader:
            ended = asyncio.Event()
            writing = asyncio.ensure_future(write(reader, ended))
            try:
                async for batch in batches(reader, ended, silence):
                    got.append(batch)  # noqa: PERF401 - what came before an error counts
            except EndedEarlyError as error:
                return got, error.reason
            finally:
                await writing
        return got, None

    return asyncio.run(story())


def test_a_whole_body_comes_out_whole():
    async def write(reader: aiohttp.StreamReader, _ended: asyncio.Event) -> None:
        for piece in (b"ab", b"cd"):
            reader.feed_data(piece)
            await asyncio.sleep(0.001)
        reader.feed_eof()

    assert run(write) == ([b"abcd"], None)


def test_an_empty_body_gives_no_batch():
    async def write(reader: aiohttp.StreamReader, _ended: asyncio.Event) -> None:
        reader.feed_eof()

    assert run(write) == ([], None)


def test_a_large_body_is_handed_out_in_bounded_batches(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(feed, "FLUSH_BYTES", 1000)

    async def write(reader: aiohttp.StreamReader, _ended: asyncio.Event) -> None:
        for _ in range(10):
            reader.feed_data(bytes(400))
            await asyncio.sleep(0.001)
        reader.feed_eof()

    got, reason = run(write)
    assert reason is None
    assert sum(map(len, got)) == 4000
    assert max(map(len, got)) < 1400


def test_slow_bytes_are_handed_out_after_a_while_and_never_given_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(feed, "FLUSH_SECONDS", 0.05)

    async def write(reader: aiohttp.StreamReader, _ended: asyncio.Event) -> None:
        for _ in range(6):
            reader.feed_data(b"x")
            await asyncio.sleep(0.06)
        reader.feed_eof()

    got, reason = run(write, silence=0.2)
    assert reason is None
    assert b"".join(got) == b"x" * 6
    assert len(got) >= 4


def test_the_first_bytes_are_handed_out_long_before_those_that_follow(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(feed, "FIRST_SECONDS", 0.01)
    monkeypatch.setattr(feed, "FLUSH_SECONDS", 600.0)

    async def write(reader: aiohttp.StreamReader, _ended: asyncio.Event) -> None:
        for piece in (b"first", b"second", b"third"):
            reader.feed_data(piece)
            await asyncio.sleep(0.2)
        reader.feed_eof()

    assert run(write) == ([b"first", b"secondthird"], None)


def test_a_silent_peer_is_ended_and_its_bytes_are_kept():
    async def write(reader: aiohttp.StreamReader, _ended: asyncio.Event) -> None:
        reader.feed_data(b"abc")

    assert run(write, silence=0.05) == ([b"abc"], Reason.SILENT)


@pytest.mark.parametrize("error", [ConnectionResetError(), aiohttp.ClientPayloadError()])
def test_a_cut_connection_keeps_what_was_read(error: Exception):
    async def write(reader: aiohttp.StreamReader, _ended: asyncio.Event) -> None:
        reader.feed_data(b"abc")
        await asyncio.sleep(0.01)
        reader.set_exception(error)

    assert run(write) == ([b"abc"], Reason.CUT)


def test_a_takeover_ends_the_body_and_keeps_what_was_read():
    async def write(reader: aiohttp.StreamReader, ended: asyncio.Event) -> None:
        reader.feed_data(b"abc")
        await asyncio.sleep(0.01)
        ended.set()

    assert run(write) == ([b"abc"], Reason.ENDED)


def test_a_body_that_ended_just_before_the_takeover_is_whole():
    async def write(reader: aiohttp.StreamReader, ended: asyncio.Event) -> None:
        reader.feed_data(b"abc")
        await asyncio.sleep(0.01)
        reader.feed_eof()
        ended.set()

    assert run(write) == ([b"abc"], None)


def test_a_slow_disk_is_not_taken_for_a_silent_peer(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(feed, "FLUSH_BYTES", 1000)

    async def story() -> list[bytes]:
        loop = asyncio.get_running_loop()
        got = []
        async with open_body() as reader:
            reader.feed_data(bytes(1000))
            async for batch in batches(reader, asyncio.Event(), 0.1):
                got.append(batch)
                if len(got) == 1:
                    await asyncio.sleep(0.15)
                    loop.call_later(0.05, reader.feed_data, b"more")
                    loop.call_later(0.06, reader.feed_eof)
        return got

    assert asyncio.run(story())[1:] == [b"more"]
