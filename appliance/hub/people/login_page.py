"""Logging in and out, and choosing a language."""

from __future__ import annotations

import math
from typing import Any, Final

from aiohttp import web

from appliance.clock import now_ms
from appliance.hub.index import trail
from appliance.hub.index.database import Index
from appliance.hub.parts import PARTS
from appliance.hub.people import forms, pages, persons, sessions, visitors
from appliance.hub.people.doorkeeper import Doorkeeper
from appliance.hub.people.language import _l
from appliance.hub.people.logins import Wait
from appliance.hub.people.names import LONGEST
from appliance.hub.people.pages import DRAWING, FORM, see, set_cookie
from appliance.hub.people.values import Visitor

DOORKEEPER: Final = web.AppKey("doorkeeper", Doorkeeper)
BROWSER_COOKIE: Final = "browser"
_YEAR: Final = 31_536_000
_WRONG: Final = _l("Name or password is wrong.")


def routes() -> list[web.RouteDef]:
    """Those of this page."""
    return [
        web.get("/people/login", show),
        web.post("/people/login", enter),
        web.post("/people/logout", leave),
        web.get("/people/language/{code}", choose),
    ]


async def show(request: web.Request) -> web.StreamResponse:
    """The login page. While nobody may log in it says how to let somebody in."""
    return await _page(request, 200)


async def enter(request: web.Request) -> web.StreamResponse:
    """Checks name and password. One answer for a wrong name and a wrong password; 429 for too many tries."""
    form, browser = request[FORM], request.cookies.get(BROWSER_COOKIE, "")
    name, address = form.get("name", ""), visitors.address_of(request)
    came = await request.app[DOORKEEPER].log_in(name, form.get("password", ""), browser, address)
    if isinstance(came, Wait):
        seconds = math.ceil(came.ms / 1000)
        response = await _page(request, 429, name=name[:LONGEST], wait=seconds)
        response.headers["Retry-After"] = str(seconds)
        return response
    if came is None:
        return await _page(request, 401, name=name[:LONGEST], problem=_WRONG)
    response = see(pages.local_path(form.get("next", "")))
    set_cookie(request, response, visitors.SESSION_COOKIE, came[0])
    set_cookie(request, response, BROWSER_COOKIE, came[1], sessions.KNOWN_MS // 1000)
    return response


async def _page(request: web.Request, status: int, **values: Any) -> web.StreamResponse:
    parts, form = request.app[PARTS], request.get(FORM, {})
    cookie = pages.cookie_of_forms(request) or sessions.new_token()
    shown = {
        "name": "",
        "problem": "",
        "wait": 0,
        "next": pages.local_path(form.get("next", request.query.get("next", ""))),
        "nobody": not await parts.blocking(_anybody, parts.index),
        "form_token": forms.form_token(cookie),
    }
    response = request.app[DRAWING].draw(request, "login.html", status, **(shown | values))
    if not pages.cookie_of_forms(request):
        set_cookie(request, response, pages.FORM_COOKIE, cookie)
    return response


def _anybody(index: Index) -> bool:
    with index.read() as connection:
        return persons.anybody(connection)


async def leave(request: web.Request) -> web.StreamResponse:
    """Ends the session here and in the index."""
    visitor, parts = visitors.visitor_of(request), request.app[PARTS]
    if visitor is not None:
        await parts.blocking(_end, parts.index, visitor)
    response = see(pages.LOGIN)
    response.del_cookie(visitors.SESSION_COOKIE, path="/", httponly=True, samesite="Strict")
    return response


def _end(index: Index, visitor: Visitor) -> None:
    by = visitor.actor
    with index.write() as connection:
        sessions.end(connection, visitor.session_id or 0, now_ms())
        trail.record(connection, at=now_ms(), actor=by.name, role=by.role, address=by.address, action="logout")


async def choose(request: web.Request) -> web.StreamResponse:
    """Keeps the chosen language in a cookie and goes back to where the person was."""
    code = request.match_info["code"]
    if code not in request.app[DRAWING].languages:
        raise web.HTTPNotFound
    response = see(pages.local_path(request.query.get("next", pages.LOGIN)))
    set_cookie(request, response, pages.LANGUAGE_COOKIE, code, _YEAR)
    return response
