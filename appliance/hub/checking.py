"""Takes whole parcels one after the other to their verdict, in threads, so that no request waits for it.

Which one comes next: `turns` decides between sites; within a site it is priority, then the time at which it was whole.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from appliance.compress.pool import WorkerPool
from appliance.errors import ApplianceError, DiskFullError
from appliance.hub.index import parcels
from appliance.hub.index.parcels import Parcel
from appliance.hub.ingest import ANY_LENGTH, Ingest
from appliance.hub.objects.store import Store
from appliance.hub.parts import Parts
from appliance.hub.previewing import Previewing
from appliance.hub.turns import Turns, Waiting
from appliance.logs import get_logger
from appliance.mistakes import where
from appliance.model.priority import Priority

_LOOK_SECONDS: Final = 5.0  # how often it looks without being told, for one thing whether there is room on the disk
_PAUSE_FIRST: Final = 2.0
_PAUSE_LONGEST: Final = 30.0

log = get_logger()


class Checking:
    """As many parcels at once as there are workers."""

    def __init__(self, parts: Parts, store: Store) -> None:
        self._parts = parts
        self._workers = parts.config.compress.workers
        self._pool = WorkerPool(parts.config.compress)
        self._ingest = Ingest(parts.config, parts.index, store, self._pool, parts.uptime)
        self._threads = ThreadPoolExecutor(self._workers, "hub-check")
        self._choosing = asyncio.Lock()
        self._turns = Turns()
        self._busy: set[int] = set()
        self._paused: dict[int, tuple[float, float]] = {}  # parcel → when to try again, the pause before that
        self._lacks_room = False  # nothing can be checked but for want of room on the disk

    def previewing(self) -> Previewing:
        """What draws previews, with the same workers and headers."""
        return Previewing(self._parts, self._pool, self._ingest.dictionary)

    async def run(self) -> None:
        """Works until cancelled. What waited when the hub last ended is found by the first query."""
        await asyncio.gather(*(self._work() for _ in range(self._workers)))

    async def _work(self) -> None:
        while True:
            rung = self._parts.to_check.listen()
            try:
                if not await self._check_one():
                    await asyncio.wait({rung}, timeout=_LOOK_SECONDS)
            finally:
                rung.cancel()

    async def _check_one(self) -> bool:
        """False when nothing waits."""
        try:
            parcel = await self._next()
        except (ApplianceError, OSError) as error:
            log.error("what waits for its check can't be read", reason=_reason(error))
            await asyncio.sleep(_PAUSE_FIRST)
            return True
        if parcel is None:
            return False
        try:
            await asyncio.get_running_loop().run_in_executor(self._threads, self._ingest.check, parcel)
            self._paused.pop(parcel.id, None)
        # One parcel that meets a full disk, a failing one, or a bug of ours is tried again later: the others go on.
        except Exception as error:  # noqa: BLE001
            self._pause(parcel, error)
        finally:
            self._busy.discard(parcel.id)
        self._parts.decided.ring()
        return True

    async def _next(self) -> Parcel | None:
        """The parcel that is first now; it is busy until its check is over, so no two workers get the same."""
        async with self._choosing:
            now = asyncio.get_running_loop().time()
            passed = self._busy | {parcel for parcel, (until, _) in self._paused.items() if until > now}
            ready, kept_out = await self._parts.blocking(self._read, passed)
            if not ready:
                self._say_room(len(kept_out))
                return None
            found = {_waiting(parcel): parcel for parcel in ready}
            taken, self._turns = self._turns.take(found)
            self._busy.add(taken.parcel)
            return found[taken]

    def _read(self, passed: set[int]) -> tuple[list[Parcel], list[Parcel]]:
        """The first parcel of each site that there is room to unpack; when there is none, those that lack room."""
        with self._parts.index.read() as connection:
            ready = parcels.first_of_each_site(connection, passed, self._ingest.largest())
            return ready, [] if ready else parcels.first_of_each_site(connection, passed, ANY_LENGTH)

    def _say_room(self, sites: int) -> None:
        """Says once that so many sites wait for room, and once that none does any more: this is looked at often."""
        if sites and not self._lacks_room:
            log.error("the disk is too full to check parcels", count=sites, error_id=DiskFullError.id)
        elif self._lacks_room and not sites:
            log.info("there is room to check parcels again")
        self._lacks_room = sites > 0

    def _pause(self, parcel: Parcel, error: Exception) -> None:
        """Twice as long each time, so that what can't be mended is not tried in a hot loop."""
        _, last = self._paused.get(parcel.id, (0.0, _PAUSE_FIRST / 2))
        pause = min(2 * last, _PAUSE_LONGEST)
        self._paused[parcel.id] = (asyncio.get_running_loop().time() + pause, pause)
        log.error(
            "a parcel could not be checked",
            parcel=parcel.id,
            site=parcel.site_id,
            reason=_reason(error),
            seconds=pause,
        )

    def close(self) -> None:
        """Ends the workers and waits for the threads. Blocking. A check that was going on begins anew at the start."""
        self._pool.close()
        self._threads.shutdown()


def _waiting(parcel: Parcel) -> Waiting:
    return Waiting(parcel.site_id, parcel.id, stat=parcel.priority == Priority.STAT)


def _reason(error: Exception) -> str:
    return error.message if isinstance(error, ApplianceError) else f"{type(error).__name__} at {where(error)}"
