"""Sites that come back at once, simulated: clients that speak HTTP to a real hub, each from an address of its own.

Each greets until it is answered, opens its uploads, sends them one after the other and waits for their receipts. After
any fault it waits as `model.retry` says, which is what a unit does.

Run as a program in the namespace of the sites with a file of JSON that says who they are. It prints `found` once all
have found the hub, reads a line, lets them send, and prints one line of JSON: what each did, and when, on the
monotonic clock.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import socket
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).resolve().parents[2])]

from appliance.model.retry import Fault, Tries, after_fault
from appliance.upload.client import Answer, State, Upload
from appliance.upload.headers import parcel_metadata

_ANSWER_SECONDS, _RETRY_SECONDS_MAX = 15.0, 5.0  # a unit's defaults
_PATIENCE: Final = {423, 429, 503}  # answers that ask for it
_PIECE: Final = 16384


@dataclass
class Site:
    """One simulated site, and when its facts came to be: seconds of the monotonic clock."""

    url: str
    address: str
    secret: str
    parcels: Sequence[Path]
    draw: random.Random
    asked: list[float] = field(default_factory=list)  # every request
    refused: int = 0  # answers that ask for patience
    moved: list[tuple[float, int]] = field(default_factory=list)  # bytes that the hub says it has
    delivered: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._open()

    def _open(self) -> None:
        connector = aiohttp.TCPConnector(socket_factory=self._make_socket, limit=0)
        headers = {"Authorization": f"Bearer {self.secret}", "Tus-Resumable": "1.0.0"}
        self._session = aiohttp.ClientSession(connector=connector, headers=headers)

    def _make_socket(self, _: Any) -> socket.socket:
        """As a unit's are, but with an address of its own."""
        made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(OSError):  # a kernel without it uses its default
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"bbr")
        made.bind((self.address, 0))
        return made

    async def run(self, found: asyncio.Barrier, go: asyncio.Event, spread: float) -> None:
        """Finds the hub, as all do; when `go` is set, in the next `spread` seconds, it has something to send."""
        await self._until_answered("/v1/hello")
        await found.wait()
        await go.wait()
        await asyncio.sleep(self.draw.uniform(0, spread))
        await self._until_answered("/v1/hello")
        for parcel in self.parcels:
            await self._deliver(parcel.read_bytes())
        await self._session.close()

    async def _deliver(self, parcel: bytes) -> None:
        digest = hashlib.sha256(parcel).hexdigest()
        upload, tries = Upload("/v1/uploads", length=len(parcel), metadata=parcel_metadata(digest, "routine")), Tries()
        while (request := upload.next_request()) is not None:
            body = None if request.offset is None else _pieces(parcel, request.offset)
            before = upload.offset
            answer = await self._ask(request.method, request.target, request.headers, body)
            fault = upload.cut() if answer is None else upload.receive(answer)
            if upload.offset > before:
                self.moved.append((time.monotonic(), upload.offset - before))
            tries = Tries() if fault is None else await self._pause(tries, fault, answer)
            if upload.state in {State.LOST, State.REJECTED}:
                raise SystemExit(f"{self.address}: an upload came to nothing")
        await self._until_answered(f"/v1/parcels/{digest}?wait=10", b'"verified"')
        self.delivered.append(time.monotonic())

    async def _until_answered(self, target: str, mark: bytes = b"") -> None:
        """Asks until the answer is a good one, with `mark` in it."""
        tries = Tries()
        while True:
            answer = await self._ask("GET", target, {}, None)
            if answer is not None and answer.status == 200 and mark in self._content:
                return
            fault = Fault.LINK if answer is None or answer.status == 200 else Fault.BUSY
            tries = await self._pause(tries, fault, answer)

    async def _pause(self, tries: Tries, fault: Fault, answer: Answer | None) -> Tries:
        if answer is None:  # what outlived an outage would only wait for its own time-outs
            await self._session.close()
            self._open()
        asked = answer.retry_after if answer else None
        again = after_fault(tries, fault, chance=self.draw.random(), seconds_max=_RETRY_SECONDS_MAX, asked=asked)
        await asyncio.sleep(again.seconds)
        return again.tries

    async def _ask(self, method: str, target: str, headers: dict[str, str], body: Any) -> Answer | None:
        """The answer; None when none came."""
        self.asked.append(time.monotonic())
        limit = aiohttp.ClientTimeout(total=None, sock_connect=10.0, sock_read=None if body else _ANSWER_SECONDS)
        options = {"headers": headers, "data": body, "timeout": limit}
        with suppress(aiohttp.ClientError, TimeoutError, OSError):
            async with self._session.request(method, self.url + target, **options) as response:
                self._content = await response.read()
                found = {name.lower(): value for name, value in response.headers.items()}
                if response.status in _PATIENCE:
                    self.refused += 1
                return Answer(status=response.status, headers=found)
        return None


async def _pieces(parcel: bytes, start: int) -> AsyncIterator[bytes]:
    for at in range(start, len(parcel), _PIECE):
        yield parcel[at : at + _PIECE]


async def _run(plan: dict[str, Any]) -> None:
    parcels = [Path(file) for file in plan["parcels"]]
    draws = (random.Random(f"{plan['seed']} {number}") for number in range(len(plan["sites"])))
    sites = [
        Site(plan["url"], address, secret, parcels, draw)
        for (address, secret), draw in zip(plan["sites"], draws, strict=True)
    ]
    found, go = asyncio.Barrier(len(sites) + 1), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for site in sites:
            group.create_task(site.run(found, go, plan["spread"]))
        await found.wait()
        print("found", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        go.set()
    names = ("address", "asked", "moved", "delivered", "refused")
    print(json.dumps([{name: getattr(site, name) for name in names} for site in sites]), flush=True)


if __name__ == "__main__":
    asyncio.run(_run(json.loads(Path(sys.argv[1]).read_text("utf-8"))))
