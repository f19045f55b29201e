"""`PUT /v1/studies/UID` and `GET /v1/wishes`: a study before it is there (docs/protocol.md §Notices and wishes)."""

from __future__ import annotations

import asyncio
import re
from typing import Final

import msgspec
from aiohttp import web

from appliance.clock import now_ms
from appliance.errors import ApplianceError
from appliance.hub.access import CREDENTIAL, answer_json
from appliance.hub.answers import wait_of
from appliance.hub.bodies import small_body
from appliance.hub.index import notices, wishes
from appliance.hub.parts import PARTS, Parts
from appliance.model.notice import NOTICE_BYTES_MAX, StudyNotice, Wishes
from appliance.upload.server import TusError

_LOOK_SECONDS: Final = 1.0  # a verb is another process: the index tells what it wished
_NUMBER: Final = re.compile(r"[0-9]{1,18}", re.ASCII)


def routes() -> list[web.RouteDef]:
    """Both."""
    return [web.put("/v1/studies/{uid:[0-9][0-9.]{0,63}}", on_notice), web.get("/v1/wishes", on_wishes)]


async def on_notice(request: web.Request) -> web.StreamResponse:
    """204: the hub knows what the site told of the study."""
    parts, site = request.app[PARTS], request[CREDENTIAL].site
    with parts.slots.take(site):
        body = await small_body(request, parts, most=NOTICE_BYTES_MAX, what="A notice")
        notice = _read(body, request.match_info["uid"])
        await parts.blocking(_tell, parts, site, notice)
    return web.Response(status=204)


def _read(body: bytes, uid: str) -> StudyNotice:
    """Raises TusError 400; what it says repeats nothing of the body."""
    try:
        notice = msgspec.json.decode(body, type=StudyNotice)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise TusError(400, "This is no notice of a study") from None
    if notice.study_instance_uid != uid:
        raise TusError(400, "The notice is of another study than its address")
    return notice


def _tell(parts: Parts, site: str, notice: StudyNotice) -> None:
    with parts.index.write() as connection:
        notices.tell(connection, site, notice, now_ms())


async def on_wishes(request: web.Request) -> web.StreamResponse:
    """The wishes after the one that the unit knows; with `wait`, not before there is one or the time is over."""
    parts, site = request.app[PARTS], request[CREDENTIAL].site
    after = request.query.get("after", "0")
    if not _NUMBER.fullmatch(after):
        raise TusError(400, "after is not a number")
    until = asyncio.get_running_loop().time() + wait_of(request)
    with parts.slots.take(site):
        while True:
            rung = parts.wished.listen()
            try:
                found = await parts.blocking(_wishes, parts, site, int(after))
                left = until - asyncio.get_running_loop().time()
                if found.wishes or found.latest < int(after) or left <= 0 or parts.stopping:
                    return answer_json(found)
                await asyncio.wait({rung}, timeout=left)
            finally:
                rung.cancel()


def _wishes(parts: Parts, site: str, after: int) -> Wishes:
    with parts.index.read() as connection:
        return wishes.after(connection, site, after)


async def watch_wishes(parts: Parts) -> None:
    """Rings `wished` whenever somebody wished something, until cancelled: one look for all who wait."""
    seen = -1
    while True:
        try:
            latest = await parts.blocking(_latest, parts)
        except ApplianceError:  # the requests that read the index say so
            latest = seen
        if latest != seen:
            seen = latest
            parts.wished.ring()
        await asyncio.sleep(_LOOK_SECONDS)


def _latest(parts: Parts) -> int:
    with parts.index.read() as connection:
        return wishes.latest(connection)
