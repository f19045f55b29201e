"""`PUT /v1/health`: how a unit is (docs/protocol.md §Health)."""

from __future__ import annotations

import msgspec
from aiohttp import web

from appliance.clock import now_ms
from appliance.hub.access import CREDENTIAL
from appliance.hub.bodies import small_body
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
        health = _read(await small_body(request, parts, most=HEALTH_BYTES_MAX, what="A report"))
        await parts.blocking(_tell, parts, site, health)
    return web.Response(status=204)


def _read(body: bytes) -> Health:
    """Raises TusError 400; what it says repeats nothing of the body."""
    try:
        return msgspec.json.decode(body, type=Health)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise TusError(400, "This is no report of a unit") from None


def _tell(parts: Parts, site: str, health: Health) -> None:
    with parts.index.write() as connection:
        told.tell(connection, site, health, now_ms())
