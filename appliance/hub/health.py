"""`PUT /v1/health`: how a unit is (docs/protocol.md §Health)."""

from __future__ import annotations

import asyncio

import msgspec
from aiohttp import web

from appliance.clock import now_ms
from appliance.hub.access import CREDENTIAL
from appliance.hub.index import health as told
from appliance.hub.parts import PARTS, Parts
from appliance.model.health import HEALTH_BYTES_MAX, Health
from appliance.upload.server import TusError


def routes() -> list[web.RouteDef]:
    """The one."""
    return [web.put("/v1/health", on_health)]


async def on_health(request: web.Request) -> web.StreamResponse:
    """204: the hub knows how the unit is."""
    parts, site = request.app[PARTS], request[CREDENTIAL].site
    with parts.slots.take(site):
        health = _read(await _body(request, parts))
        await parts.blocking(_tell, parts, site, health)
    return web.Response(status=204)


async def _body(request: web.Request, parts: Parts) -> bytes:
    """Raises TusError 413 and 408."""
    if request.content_length is None or request.content_length > HEALTH_BYTES_MAX:
        raise TusError(413, f"A report has a Content-Length of at most {HEALTH_BYTES_MAX} bytes")
    try:
        async with asyncio.timeout(parts.config.limits.silence_seconds):
            return await request.read()
    except TimeoutError:
        raise TusError(408, "The body did not come to its end", {"Connection": "close"}) from None


def _read(body: bytes) -> Health:
    """Raises TusError 400; what it says repeats nothing of the body."""
    try:
        return msgspec.json.decode(body, type=Health)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise TusError(400, "This is no report of a unit") from None


def _tell(parts: Parts, site: str, health: Health) -> None:
    with parts.index.write() as connection:
        told.tell(connection, site, health, now_ms())
