"""The tus endpoint `/v1/uploads`: the shell around `upload.server` (docs/protocol.md §Upload)."""

from __future__ import annotations

import secrets
from contextlib import aclosing
from dataclasses import replace
from typing import Final

import sqlalchemy.exc
from aiohttp import web
from sqlalchemy import Connection

from appliance.hub.access import CREDENTIAL, refusal
from appliance.hub.feed import EndedEarlyError, Reason, batches
from appliance.hub.index import parcels
from appliance.hub.index.parcels import Parcel
from appliance.hub.index.uptime import Moment
from appliance.hub.intake import Hold, Writer
from appliance.hub.parts import PARTS, Parts
from appliance.logs import get_logger
from appliance.model.receipt import Verdict
from appliance.upload import server as tus

PATH: Final = "/v1/uploads"

log = get_logger()


def routes() -> list[web.RouteDef]:
    """Every method of the endpoint; which one counts is decided by the core."""
    one = PATH + "/{name:[0-9a-f]{32}}"
    collection = [web.route(method, PATH, on_collection) for method in ("OPTIONS", "POST")]
    return collection + [web.route(m, one, on_upload) for m in ("OPTIONS", "HEAD", "PATCH", "DELETE", "POST")]


async def on_collection(request: web.Request) -> web.StreamResponse:
    """OPTIONS and POST."""
    parts = request.app[PARTS]
    _check_headers(request)
    if request.method == "OPTIONS":
        return _response(tus.answer_options(parts.limits))
    with parts.slots.take(request[CREDENTIAL].site):
        creation = tus.read_creation(request.headers, parts.limits)
        parcel = await parts.blocking(_open_upload, parts, request[CREDENTIAL].site, creation)
    return _response(tus.answer_created(_stored(parts, parcel), _location(request, parcel.name), parts.limits))


def _location(request: web.Request, name: str) -> str:
    """Absolute, since known clients join a path to the collection's URL each in its own way."""
    path = f"{PATH}/{name}"
    if "Host" not in request.headers:  # aiohttp would ask the network for our name
        return path
    try:
        return str(request.url.origin().with_path(path))
    except ValueError:  # a Host header that is none
        return path


async def on_upload(request: web.Request) -> web.StreamResponse:
    """HEAD, PATCH and DELETE of one upload; each ends an older request that still has it."""
    parts = request.app[PARTS]
    _check_headers(request)
    method = tus.effective_method(request.method, request.headers)
    if method == "OPTIONS":
        return _response(tus.answer_options(parts.limits))
    if method == "POST":
        raise web.HTTPMethodNotAllowed("POST", ["OPTIONS", "HEAD", "PATCH", "DELETE"])
    name, site = request.match_info["name"], request[CREDENTIAL].site
    await parts.blocking(_find, parts, site, name)
    async with parts.holds.take(name) as hold:
        with parts.slots.take(site):
            parcel = await parts.blocking(_find_held, parts, site, name)
            if method == "PATCH":
                return await _patch(request, parts, parcel, hold)
            if method == "DELETE":
                return await parts.blocking(_terminate, parts, parcel)
            return _response(tus.answer_head(_stored(parts, parcel), parts.limits))


def _check_headers(request: web.Request) -> None:
    """Raises TusError 400 when a header that counts came twice, 412 for another version of tus."""
    for name in tus.SINGLE:
        if len(request.headers.getall(name, [])) > 1:
            raise tus.TusError(400, f"{name} came twice")
    tus.check_version(request.method, request.headers)


def _response(answer: tus.Answer) -> web.Response:
    return web.Response(status=answer.status, headers=answer.headers)


def _stored(parts: Parts, parcel: Parcel) -> tus.StoredUpload:
    """Its last byte is put as long ago as the hub was up since then: when it expires follows from that."""
    now = parts.uptime.moment()
    age = max(0, now.up - parcel.last_byte_up)  # what was not saved of the uptime before a power cut is missing
    return tus.StoredUpload(parcel.length, parcel.offset, parcel.metadata, last_byte_at=now.at - age)


def _find(parts: Parts, site: str, name: str) -> Parcel:
    """The site's own upload. Raises TusError 404."""
    with parts.index.read() as connection:
        parcel = parcels.find(connection, site, name)
    if parcel is None or parcel.verdict is Verdict.REFUSED:
        raise tus.not_found()
    return parcel


def _find_held(parts: Parts, site: str, name: str) -> Parcel:
    """The same, its offset proved against its file: call it while nobody else writes to the upload."""
    parcel = _find(parts, site, name)
    if parcel.verdict is Verdict.PARTIAL:
        return replace(parcel, offset=parts.intake.true_offset(parcel))
    return parcel


def _open_upload(parts: Parts, site: str, creation: tus.Creation) -> Parcel:
    """The upload of this parcel: the one that is there, or a new one. Two at once get the same."""
    digest = bytes.fromhex(creation.parcel) if creation.parcel else None
    known = _known(parts, site, digest)
    if known and not _is_void(known, creation):
        return known
    with parts.index.read() as connection:
        _check_room(connection, parts, site, creation)
    name = secrets.token_hex(16)
    parts.intake.make_file(name)
    try:
        created = _write_row(parts, site, name, digest, creation, known)
    except BaseException:
        parts.intake.remove_file(name)
        raise
    if created is None:
        parts.intake.remove_file(name)
        return _open_upload(parts, site, creation)  # another request was first
    if known:
        parts.intake.remove_file(known.name)
    return created


def _known(parts: Parts, site: str, digest: bytes | None) -> Parcel | None:
    if digest is None:
        return None
    with parts.index.read() as connection:
        return parcels.find_by_digest(connection, site, digest)


def _is_void(known: Parcel, creation: tus.Creation) -> bool:
    """Whether the parcel is to begin anew: it was refused, or was opened with a length that is now said to be wrong."""
    wrong = known.verdict is Verdict.PARTIAL and known.length != creation.length
    return wrong or known.verdict is Verdict.REFUSED


def _write_row(
    parts: Parts, site: str, name: str, digest: bytes | None, creation: tus.Creation, known: Parcel | None
) -> Parcel | None:
    """The new upload; None when another request changed what is known meanwhile."""
    try:
        with parts.index.write() as connection:
            latest = parcels.find_by_digest(connection, site, digest) if digest else None
            if (latest and latest.name) != (known and known.name):
                return None
            _check_room(connection, parts, site, creation)
            opening = _opening(name, creation, parts.uptime.moment())
            if known is None:
                parcels.create(connection, site, digest, opening)
            else:
                parcels.reopen(connection, known.id, opening)
            return parcels.find(connection, site, name)
    except sqlalchemy.exc.IntegrityError:
        return None


def _opening(name: str, creation: tus.Creation, moment: Moment) -> parcels.Opening:
    return parcels.Opening(name, creation.length, int(creation.priority), creation.metadata, moment)


def _check_room(connection: Connection, parts: Parts, site: str, creation: tus.Creation) -> None:
    uploads, size = parcels.usage(connection, site)
    tus.check_room(creation, tus.Usage(uploads, size, parts.intake.free_bytes()), parts.limits)


async def _patch(request: web.Request, parts: Parts, parcel: Parcel, hold: Hold) -> web.StreamResponse:
    plan = tus.read_patch(request.headers)
    stored = _stored(parts, parcel)
    free = await parts.blocking(parts.intake.free_bytes)
    tus.check_patch(plan, stored, tus.Usage(0, 0, free))
    try:
        if parcel.verdict is Verdict.PARTIAL:
            await _receive(request, parts, parcel, hold, plan)
    except EndedEarlyError as ended:
        log.info("a body ended early", site=parcel.site_id, parcel=parcel.id, reason=ended.reason)
        return _answer_ended(parts, ended.reason)
    now = await parts.blocking(_find, parts, parcel.site_id, parcel.name)
    if now.verdict is Verdict.CHECKING:
        parts.to_check.ring()
    return _response(tus.answer_patch(_stored(parts, now), parts.limits))


async def _receive(request: web.Request, parts: Parts, parcel: Parcel, hold: Hold, plan: tus.Patch) -> None:
    """Writes the body. Without a checksum every batch becomes durable by itself; with one, all of it or nothing."""
    body = tus.BodyCheck(plan, _stored(parts, parcel))
    writer = await parts.blocking(Writer, parts.intake, parcel, request[CREDENTIAL])
    try:
        feed = batches(request.content, hold.ended, parts.config.limits.silence_seconds)
        async with aclosing(feed):
            async for batch in feed:
                body.take(batch)
                await parts.blocking(writer.write if plan.checksum else writer.append, batch)
                parts.arrived.ring()
        body.finish()
        if plan.checksum:
            await parts.blocking(writer.commit)
    finally:
        await parts.blocking(writer.close)


def _answer_ended(parts: Parts, reason: Reason) -> web.Response:
    if reason is Reason.ENDED and not parts.stopping:
        raise tus.superseded()
    if reason is Reason.ENDED:
        return refusal(503, "The hub stops", headers={"Connection": "close"})
    return refusal(408, "The body did not come to its end", headers={"Connection": "close"})


def _terminate(parts: Parts, parcel: Parcel) -> web.Response:
    """204 when the upload is gone; a whole one stays, for its receipts are owed (tus 1.0 §Termination)."""
    with parts.index.write() as connection:
        removed = parcels.remove(connection, parcel.name)
    if removed:
        parts.intake.remove_file(parcel.name)
    elif parcel.verdict is Verdict.PARTIAL:
        raise tus.not_found()
    return web.Response(status=204)
