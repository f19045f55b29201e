"""Draws previews out of parcels that are still coming, in the sandbox, so that people see what is on its way.

Nothing proves a part: its parcel's digest is for the whole. So a preview is kept apart from the archive, says of itself
that it is not for diagnosis, and goes when its upload does. Parcels that come whole at once are not looked at.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

from appliance.clock import now_ms
from appliance.compress.faults import PoolClosedError
from appliance.compress.parcel import PREAMBLE_BYTES, Preamble, read_preamble
from appliance.compress.pool import WorkerPool
from appliance.compress.show import PREVIEWS_MAX
from appliance.compress.values import PartPreviews, Preview
from appliance.errors import ApplianceError, ParcelError
from appliance.hub.index import notices, previews
from appliance.hub.index.previews import NEVER, Part, PreviewFacts
from appliance.hub.parts import Parts
from appliance.logs import get_logger
from appliance.mistakes import where

DIRECTORY: Final = "previews"
KEPT_DAYS: Final = 30
BYTES_MAX: Final = 2 << 30  # of all previews; the oldest go first
NOTICE_DAYS: Final = 90
_STEP: Final = 64 << 10  # bytes more of a part, before it is looked at again
_LOOK_SECONDS: Final = 5.0
_PAUSE_SECONDS: Final = 10.0
_ROOM: Final = 64 << 20  # bytes free beside what uploads may use, or nothing is drawn
_DAY_MS: Final = 86_400_000

log = get_logger()


def path_of(data: Path, parcel_name: str, block: int) -> Path:
    """The file of a preview; the name is ours."""
    return data / DIRECTORY / parcel_name[:2] / parcel_name / f"{block:07d}.png"


class Previewing:
    """One part at a time: a hub that is busy checks parcels first."""

    def __init__(self, parts: Parts, pool: WorkerPool, dictionary: Callable[[str, bytes], bytes | None]) -> None:
        self._parts, self._pool, self._dictionary = parts, pool, dictionary
        self._data = parts.config.data
        self._passed: set[str] = set()  # a bug of ours, or a disk that failed, met these; until the next cleaning

    async def run(self) -> None:
        """Draws until cancelled."""
        while True:
            rung = self._parts.arrived.listen()
            try:
                if not await self._one():
                    await asyncio.wait({rung}, timeout=_LOOK_SECONDS)
            finally:
                rung.cancel()

    async def _one(self) -> bool:
        """False when no part is worth a look."""
        try:
            part = await self._parts.blocking(self._next)
        except ApplianceError as error:
            log.error("the index can't be read", error_id=error.id, reason=error.message)
            await asyncio.sleep(_PAUSE_SECONDS)
            return True
        if part is None:
            return False
        try:
            await self._parts.blocking(self.draw, part)
        # A preview is a courtesy: whatever goes wrong with one costs that one alone, and never an upload.
        except Exception as error:  # noqa: BLE001
            self._passed.add(part.parcel_name)
            reason = f"{type(error).__name__} at {where(error)}"
            log.error("previews could not be drawn", site=part.site_id, reason=reason)
        return True

    def _next(self) -> Part | None:
        if self._parts.intake.free_bytes() < _ROOM:
            return None
        with self._parts.index.read() as connection:
            return previews.next_part(connection, self._passed)

    def draw(self, part: Part) -> None:
        """Draws what the part holds and was not drawn before. Blocking."""
        path = self._parts.intake.path(part.parcel_name)
        try:
            preamble = _preamble(path, part)
            if part.have < preamble.front_at:
                self._note(part, [], after=0, wanted=preamble.front_at)
                return
            found = self._pool.previews(
                path,
                lambda digest: self._dictionary(part.site_id, digest),
                length=part.length,
                have=part.have,
                after=part.after,
            )
        except (FileNotFoundError, PoolClosedError):  # the upload was taken back; the hub stops
            return
        except ParcelError:  # the check will say what is wrong with it, when all of it is here
            self._note(part, [], after=part.after, wanted=NEVER if part.have >= PREAMBLE_BYTES else PREAMBLE_BYTES)
            return
        self._keep(part, found.previews)
        self._note(part, found.previews, after=found.after, wanted=_wanted(part, found, preamble))

    def _keep(self, part: Part, found: tuple[Preview, ...]) -> None:
        for each in found:
            path = path_of(self._data, part.parcel_name, each.block)
            path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            path.write_bytes(each.png)  # not durable: after a power cut a preview may be missing

    def _note(self, part: Part, found: tuple[Preview, ...] | list[Preview], *, after: int, wanted: int) -> None:
        facts = [_facts(part, each) for each in found]
        with self._parts.index.write() as connection:
            previews.drawn(connection, part.parcel_name, facts, after=after, wanted=wanted, now=now_ms())

    def clean(self, now: int) -> None:
        """Takes away what is too old, too much, or of an upload that is gone; `now` in Unix ms. Blocking."""
        self._passed.clear()
        with self._parts.index.write() as connection:
            notices.forget(connection, now - NOTICE_DAYS * _DAY_MS)
            spent = previews.spent(connection, now - KEPT_DAYS * _DAY_MS, BYTES_MAX)
            previews.remove(connection, spent)
            needed = previews.names(connection)
        for directory in (self._data / DIRECTORY).glob("??/*"):
            if directory.name not in needed:
                shutil.rmtree(directory, ignore_errors=True)


def _preamble(path: Path, part: Part) -> Preamble:
    """Raises ParcelError, also when it is not whole yet; FileNotFoundError."""
    with path.open("rb") as file:
        return read_preamble(os.pread(file.fileno(), min(PREAMBLE_BYTES, part.have), 0), part.length)


def _wanted(part: Part, found: PartPreviews, preamble: Preamble) -> int:
    """With how many bytes the part is worth the next look."""
    if found.complete:
        return NEVER
    if len(found.previews) >= PREVIEWS_MAX:
        return part.have
    return min(preamble.preview_bytes, part.have + _STEP)


def _facts(part: Part, each: Preview) -> PreviewFacts:
    return PreviewFacts(
        parcel_name=part.parcel_name,
        block=each.block,
        site_id=part.site_id,
        study_instance_uid=each.identity.study_instance_uid,
        series_instance_uid=each.identity.series_instance_uid,
        series_number=each.identity.series_number,
        sop_instance_uid=each.identity.sop_instance_uid,
        instance_number=each.identity.instance_number,
        frame=each.frame,
        bytes=len(each.png),
    )
