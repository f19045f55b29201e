"""Who asks: a person by the cookie of a session, a viewer by a bearer token; and what the faces ask of that.

scope = visitors.scope_of(request)        # the Scope that every query of the index takes; 401 for nobody
visitor = visitors.need(request, Role.STAFF)     # 403 for who may not
"""

from __future__ import annotations

import contextlib
from typing import Final

from aiohttp import web

from appliance.clock import now_ms
from appliance.errors import DiskFullError
from appliance.hub.access import Handler, refusal
from appliance.hub.index.database import Index
from appliance.hub.index.scope import Scope
from appliance.hub.parts import PARTS, Parts
from appliance.hub.people import addresses, scopes, sessions, tokens
from appliance.hub.people.values import Role, Visitor

SESSION_COOKIE: Final = "staff"
VISITOR: Final = web.RequestKey("visitor", Visitor)
PROXIES: Final[web.AppKey[frozenset[str]]] = web.AppKey("proxies", frozenset)
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})


def visitor_of(request: web.Request) -> Visitor | None:
    """Who asks; None for nobody that is known here."""
    return request.get(VISITOR)


def scope_of(request: web.Request) -> Scope:
    """Whose studies may be shown to who asks: the `Scope` of every query. Raises HTTPUnauthorized for nobody."""
    return need(request, Role.READER).scope


def need(request: web.Request, role: Role) -> Visitor:
    """Who asks. Raises HTTPUnauthorized for nobody, HTTPForbidden for who may not."""
    visitor = visitor_of(request)
    if visitor is None:
        raise web.HTTPUnauthorized
    if not visitor.role.may(role):
        raise web.HTTPForbidden
    return visitor


def address_of(request: web.Request) -> str:
    """Where the request came from; behind our own proxies what these say."""
    forwarded = ",".join(request.headers.getall("X-Forwarded-For", ()))
    proxies = request.app[PROXIES]
    return addresses.origin(request.remote or "", forwarded, proxies)


async def by_session(request: web.Request) -> Visitor | None:
    """The person whose session it is."""
    cookie, parts = request.cookies.get(SESSION_COOKIE, ""), request.app[PARTS]
    return await parts.blocking(_of_session, parts, cookie, address_of(request), now_ms()) if cookie else None


async def by_token(request: web.Request) -> Visitor | None:
    """The viewer whose token it is."""
    token, parts = tokens.parse_bearer(request.headers.get("Authorization", "")), request.app[PARTS]
    return await parts.blocking(_of_token, parts.index, token, address_of(request), now_ms()) if token else None


@web.middleware
async def as_service(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Around what viewers ask: a token, or a session for what changes nothing (a form of ours proves the rest).

    A request that shows an `Authorization` is judged by that alone. Errors are left to `access.answer_errors`.
    """
    visitor = None
    if "Authorization" in request.headers:
        visitor = await by_token(request)
    elif request.method in _SAFE:
        visitor = await by_session(request)
    if visitor:
        request[VISITOR] = visitor
    try:
        response = await handler(request)
    except web.HTTPUnauthorized:
        response = refusal(401, "This needs a token of a viewer", headers={"WWW-Authenticate": "Bearer"})
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    return response


def _of_session(parts: Parts, cookie: str, address: str, now: int) -> Visitor | None:
    alive_ms = int(parts.config.staff.session_hours * 3_600_000)
    with parts.index.read() as connection:
        found = sessions.find(connection, cookie, alive_ms, now)
        scope = scopes.scope_of(connection, found.person_id) if found else None
    if found is None or scope is None:
        return None
    if found.stale:
        # A full disk must not take from staff what is still there to be read.
        with contextlib.suppress(DiskFullError), parts.index.write() as connection:
            sessions.touch(connection, found.session_id, now)
    role = Role(found.role)
    return Visitor(found.person_id, found.name, role, scope, address, session_id=found.session_id)


def _of_token(index: Index, token: str, address: str, now: int) -> Visitor | None:
    with index.read() as connection:
        found = tokens.find(connection, token, now)
        scope = scopes.scope_of(connection, found.person_id) if found else None
    if found is None or scope is None:
        return None
    if found.stale:
        with contextlib.suppress(DiskFullError), index.write() as connection:
            tokens.touch(connection, found.token_id, now)
    return Visitor(found.person_id, found.name, Role.READER, scope, address, token_id=found.token_id)
