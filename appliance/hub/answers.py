"""`/v1/hello`, verdicts and receipts (docs/protocol.md §Verdicts and receipts)."""

from __future__ import annotations

import asyncio
import re
from typing import Final

from aiohttp import web

from appliance import __version__
from appliance.clock import now_ms
from appliance.hub.access import CREDENTIAL, answer_json
from appliance.hub.courier import public_key
from appliance.hub.index import instances
from appliance.hub.parts import PARTS, Parts
from appliance.hub.verdict import verdict_of
from appliance.model.receipt import Hello, ParcelVerdict, Receipt, Verdict
from appliance.upload.server import TusError

_DIGEST: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_WAIT_MAX: Final = 30.0
_UID_MAX: Final = 64


def routes() -> list[web.RouteDef]:
    """The read-only part of the protocol."""
    return [
        web.get("/v1/hello", on_hello),
        web.get("/v1/parcels/{digest:[0-9a-f]{64}}", on_parcel),
        web.get("/v1/receipts/{uid}", on_receipt),
    ]


async def on_hello(request: web.Request) -> web.StreamResponse:
    """Who this hub is, what time it has, and its ceilings."""
    parts = request.app[PARTS]
    hello = Hello(
        hub=parts.config.hub.name,
        version=__version__,
        site=request[CREDENTIAL].site,
        time=now_ms(),
        parcel_bytes_max=parts.limits.parcel_bytes_max,
        uploads_max=parts.limits.uploads_max,
        courier_key=await parts.blocking(public_key, parts.config.data),
    )
    return answer_json(hello)


async def on_parcel(request: web.Request) -> web.StreamResponse:
    """The verdict; with `wait`, not before the check is done or the time is over."""
    parts, site = request.app[PARTS], request[CREDENTIAL].site
    digest = bytes.fromhex(request.match_info["digest"])
    until = asyncio.get_running_loop().time() + wait_of(request)
    with parts.slots.take(site):
        while True:
            rung = parts.decided.listen()
            try:
                verdict = await parts.blocking(_verdict, parts, site, digest)
                left = until - asyncio.get_running_loop().time()
                if verdict.verdict is not Verdict.CHECKING or left <= 0 or parts.stopping:
                    return answer_json(verdict)
                await asyncio.wait({rung}, timeout=left)
            finally:
                rung.cancel()


def wait_of(request: web.Request) -> float:
    """Seconds that the request wants its answer to be held at most. Raises TusError 400."""
    text = request.query.get("wait", "0")
    if not re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,6})?", text, re.ASCII):
        raise TusError(400, "wait is not a number of seconds")
    return min(float(text), _WAIT_MAX)


def _verdict(parts: Parts, site: str, digest: bytes) -> ParcelVerdict:
    with parts.index.read() as connection:
        return verdict_of(connection, site, digest)


async def on_receipt(request: web.Request) -> web.StreamResponse:
    """The receipt of one instance that this site delivered; 404 when there is none."""
    parts, site = request.app[PARTS], request[CREDENTIAL].site
    digest, uid = request.query.get("digest", ""), request.match_info["uid"]
    if not _DIGEST.fullmatch(digest):
        raise TusError(400, "digest is not a SHA-256 in hex")
    with parts.slots.take(site):
        receipt = await parts.blocking(_receipt, parts, site, uid, bytes.fromhex(digest))
    if receipt is None:
        raise TusError(404, "This site delivered no such instance")
    return answer_json(receipt)


def _receipt(parts: Parts, site: str, uid: str, digest: bytes) -> Receipt | None:
    if len(uid) > _UID_MAX:
        return None
    with parts.index.read() as connection:
        return instances.receipt_of(connection, site, uid, digest)
