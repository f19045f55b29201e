"""Takes away what is no longer owed to anybody: expired uploads, refused parcels that were kept for a look, and
previews of what is here, or will never be.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from appliance.clock import now_ms
from appliance.errors import ApplianceError
from appliance.hub import refused
from appliance.hub.index import parcels
from appliance.hub.parts import Parts
from appliance.logs import get_logger

EVERY_SECONDS: Final = 600.0

log = get_logger()


class Cleaning:
    """The hub's periodic task."""

    def __init__(self, parts: Parts, clean_previews: Callable[[int], None] = lambda _: None) -> None:
        self._parts, self._clean_previews = parts, clean_previews
        self._uploads = parts.config.data / "uploads"
        self._refused = parts.config.data / "refused"
        self._started = now_ms()
        self._elapsed = time.monotonic()

    def at_start(self) -> None:
        """Removes files of `uploads/` that no row needs: their row was settled or never written. Blocking.

        Nobody writes a row meanwhile: `hub courier import`, another process, puts a file there just before its row.
        """
        with self._parts.index.write() as connection:
            needed = parcels.names_with_files(connection)
            for path in self._uploads.iterdir():
                if path.name not in needed:
                    path.unlink(missing_ok=True)

    async def run(self) -> None:
        """Cleans now and then, until cancelled."""
        while True:
            try:
                await self.clean(self._parts.uptime.milliseconds())
                await self._parts.blocking(refused.clean, self._refused, self._parts.uptime.milliseconds())
                await self._parts.blocking(self._clean_previews, self._now())
                await self._parts.blocking(self._parts.uptime.save)
            except (ApplianceError, OSError) as error:  # the disk or the index: both mend, or are seen elsewhere
                log.error("cleaning failed", exception=type(error).__name__)
            await asyncio.sleep(EVERY_SECONDS)

    def _now(self) -> int:
        """A clock that jumped forward while the hub ran must not make every preview look old."""
        return min(now_ms(), self._started + int((time.monotonic() - self._elapsed) * 1000))

    async def clean(self, up: int) -> None:
        """Removes the uploads that are over their time when the hub's uptime is `up`, in ms. One that some request
        holds is left alone.
        """
        for parcel in await self._parts.blocking(self._expired, up - self._parts.limits.keep_ms):
            if not self._parts.holds.is_held(parcel.name):
                async with self._parts.holds.take(parcel.name):
                    await self._parts.blocking(self._remove, parcel)

    def _expired(self, before: int) -> list[parcels.Parcel]:
        with self._parts.index.read() as connection:
            return parcels.expired(connection, before)

    def _remove(self, parcel: parcels.Parcel) -> None:
        with self._parts.index.write() as connection:
            removed = parcels.remove(connection, parcel.name)
        if removed:
            self._parts.intake.remove_file(parcel.name)
            log.info("an upload expired", site=parcel.site_id, parcel=parcel.id, bytes=parcel.offset)
