"""What the handlers of one hub share, made once when it starts."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from aiohttp import web

from appliance.config import HubConfig
from appliance.hub.index.database import Index
from appliance.hub.intake import Holds, Intake
from appliance.hub.uptime import Uptime
from appliance.upload import server as tus
from appliance.upload.headers import RETRY_AFTER

_DAY_MS = 86_400_000
_THREADS = 8  # for fsync and SQL, so that the loop never waits for a disk

T = TypeVar("T")


class Bell:
    """Wakes everyone who waits for something to change; each then looks for himself."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[None]] = set()

    def ring(self) -> None:
        """Call in the loop's thread."""
        for future in self._waiting:
            if not future.done():
                future.set_result(None)
        self._waiting.clear()

    def listen(self) -> asyncio.Future[None]:
        """A future that ends at the next ring; take it before you look, so that no ring is missed."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        future.add_done_callback(self._waiting.discard)
        return future


class Slots:
    """Counts the requests of each site that go on at once."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken: Counter[str] = Counter()

    @contextmanager
    def take(self, site: str) -> Iterator[None]:
        """Raises TusError 429 above the ceiling."""
        if self._taken[site] >= self._most:
            raise tus.TusError(429, f"This site has {self._most} requests open, which is the most", {RETRY_AFTER: "1"})
        self._taken[site] += 1
        try:
            yield
        finally:
            self._taken[site] -= 1


class Parts:
    """Index, intake, locks and bells of one running hub."""

    def __init__(self, config: HubConfig, index: Index) -> None:
        self.config = config
        self.index = index
        self.uptime = Uptime(index)
        self.intake = Intake(index, self.uptime, config.data, config.hub.reserve_bytes)
        self.holds = Holds()
        self.slots = Slots(config.limits.requests_max)
        self.to_check = Bell()  # a parcel became whole
        self.decided = Bell()  # a parcel got its verdict
        self.arrived = Bell()  # bytes of some upload became durable
        self.wished = Bell()  # somebody wished something of a site
        self.stopping = False
        self.limits = tus.Limits(
            parcel_bytes_max=config.limits.parcel_bytes_max,
            uploads_max=config.limits.uploads_max,
            partial_bytes_max=config.limits.partial_bytes_max,
            keep_ms=int(config.limits.upload_days * _DAY_MS),
        )
        self._threads = ThreadPoolExecutor(_THREADS, "hub-io")

    async def blocking(self, call: Callable[..., T], *arguments: object) -> T:
        """Runs what waits for a disk in a thread. A cancelled caller does not leave it half done."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, call, *arguments)

    def close(self) -> None:
        """Waits for what the threads still do."""
        self._threads.shutdown()
        self.index.close()


PARTS: web.AppKey[Parts] = web.AppKey("parts", Parts)
