"""Small bodies that a unit sends: bounded in length and in time."""

from __future__ import annotations

import asyncio

from aiohttp import web

from appliance.hub.parts import Parts
from appliance.upload.server import TusError


async def small_body(request: web.Request, parts: Parts, *, most: int, what: str) -> bytes:
    """A body of at most `most` bytes, its length stated; a refusal names it `what`. Raises TusError 413 and 408."""
    if request.content_length is None or request.content_length > most:
        raise TusError(413, f"{what} has a Content-Length of at most {most} bytes")
    try:
        async with asyncio.timeout(parts.config.limits.silence_seconds):
            return await request.read()
    except TimeoutError:
        raise TusError(408, "The body did not come to its end", {"Connection": "close"}) from None
