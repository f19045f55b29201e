"""Tells the hub how this unit is: every minute, and at once when something that matters changed. No patient data."""

from __future__ import annotations

import asyncio
import time
from typing import Final

import msgspec

from appliance.clock import now_ms
from appliance.config import UnitConfig
from appliance.errors import ApplianceError, LinkError
from appliance.model.health import PROBLEMS_MAX, Health, urgent_part
from appliance.model.help import Disk as HelpDisk
from appliance.model.help import help_list
from appliance.store_forward.database import open_database
from appliance.store_forward.hub_line import HubLine
from appliance.store_forward.status import Status, read_status
from appliance.store_forward.views import read_box
from appliance.upload.client import Request

EVERY_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 5.0
_FAULT_SECONDS: Final = 60.0  # a hub of an earlier release does not know what is told


class HealthDesk:
    """`base` is the path of the hub's URL."""

    def __init__(self, config: UnitConfig, line: HubLine, base: str) -> None:
        self._config, self._line, self._target = config, line, f"{base}/v1/health"
        self._told: Health | None = None
        self._due_at = 0.0  # monotonic seconds

    async def run(self) -> None:
        """Tells for ever."""
        while True:
            await self._line.open.wait()
            await self._tell()
            await asyncio.sleep(_LOOK_SECONDS)

    async def _tell(self) -> None:
        try:
            health = await asyncio.to_thread(read_health, self._config, now_ms())
        except (ApplianceError, OSError):  # the others say what is wrong with the disk
            return
        is_news = self._told is None or urgent_part(health) != urgent_part(self._told)
        if not is_news and time.monotonic() < self._due_at:
            return
        request = Request(method="PUT", target=self._target, headers={}, content=msgspec.json.encode(health))
        try:
            answer, _ = await self._line.ask(request, seconds=0.0)
        except LinkError:
            return
        self._told = health
        self._due_at = time.monotonic() + (EVERY_SECONDS if answer.status < 300 else _FAULT_SECONDS)


def read_health(config: UnitConfig, now: int) -> Health:
    """How this unit is at `now` (Unix ms). Raises ApplianceError when its queue can't be read."""
    status = read_status(config, now)
    line = status.line
    return Health(
        at=now,
        version=status.version,
        studies_undelivered=status.studies_undelivered,
        bytes_to_send=status.bytes_to_send,
        unpacked_bytes=status.unpacked_bytes,
        oldest_undelivered_at=status.oldest_undelivered_at,
        line_since=line.since if line else None,
        line_bytes_per_second=line.bytes_per_second if line else 0.0,
        round_trip_ms=line.round_trip_ms if line else 0.0,
        clock_offset_ms=line.clock_offset_ms if line else None,
        disk_free=status.disk.free,
        disk_total=status.disk.total,
        held=line.held if line else (),
        problems=_problems(config, status, now),
    )


def _problems(config: UnitConfig, status: Status, now: int) -> tuple[str, ...]:
    """What is on the page's list of what needs a person, as words, each once. Whom it is about stays here."""
    disk = HelpDisk(status.disk.total, status.disk.free, status.disk.reserve)
    connection = open_database(config.data, read_only=True)
    try:
        box = read_box(connection, disk, now, tunnel=bool(config.tunnel.endpoint))
    finally:
        connection.close()
    return tuple(dict.fromkeys(str(item.kind) for item in help_list(box, now)))[:PROBLEMS_MAX]
