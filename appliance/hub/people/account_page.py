"""What a person sees and changes of themselves: whose studies, the password, where they are logged in, tokens."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from appliance.clock import now_ms
from appliance.hub.index import sites, trail
from appliance.hub.parts import PARTS, Parts
from appliance.hub.people import passwords, scopes, sessions, tokens, visitors
from appliance.hub.people.language import _l
from appliance.hub.people.login_page import BROWSER_COOKIE, DOORKEEPER
from appliance.hub.people.logins import Wait
from appliance.hub.people.pages import DRAWING, FORM, HOME, see
from appliance.hub.people.tokens import Token
from appliance.hub.people.values import Grant, Role, Visitor

_ROLES: Final = {
    Role.READER: _l("look and pull"),
    Role.STAFF: _l("look, pull, claim and route"),
    Role.ADMIN: _l("everything, people and sites too"),
}
_WEAK: Final = {
    "length": _l("A password has 12 to 128 characters."),
    "repeats": _l("This password has too few different characters."),
    "name": _l("This password is mostly your own name."),
    "common": _l("This password is among the first that people try."),
}
_OLD_IS_WRONG: Final = _l("The present password is wrong.")
_NOT_TWICE: Final = _l("The new password was not typed twice the same.")


@dataclass(frozen=True)
class Account:
    """What the page shows of a person."""

    grant: Grant
    sites: list[str]  # their names
    sessions: int
    tokens: list[Token]


def routes() -> list[web.RouteDef]:
    """Those of this page."""
    return [
        web.get("/people/account", show),
        web.post("/people/account/password", change_password),
        web.post("/people/account/others", end_others),
        web.post("/people/account/tokens/{token:[0-9]{1,18}}/end", end_token),
    ]


async def show(request: web.Request) -> web.StreamResponse:
    """The page."""
    visitors.need(request, Role.READER)
    return await _page(request, 200, done="done" in request.query)


async def change_password(request: web.Request) -> web.StreamResponse:
    """Sets another password and ends every other session. 429 for too many wrong old ones."""
    visitor, form = visitors.need(request, Role.READER), request[FORM]
    old, new, again = (form.get(name, "") for name in ("old", "new", "again"))
    if new != again:
        return await _page(request, 400, problem=_NOT_TWICE)
    if weak := passwords.weakness(new, visitor.name):
        return await _page(request, 400, problem=_WEAK[weak])
    browser = request.cookies.get(BROWSER_COOKIE, "")
    came = await request.app[DOORKEEPER].change_password(visitor, browser, old, new)
    if isinstance(came, Wait):
        seconds = math.ceil(came.ms / 1000)
        response = await _page(request, 429, wait=seconds)
        response.headers["Retry-After"] = str(seconds)
        return response
    return see(f"{HOME}?done") if came else await _page(request, 401, problem=_OLD_IS_WRONG)


async def end_others(request: web.Request) -> web.StreamResponse:
    """Logs the person out everywhere but here."""
    visitor, parts = visitors.need(request, Role.READER), request.app[PARTS]
    await parts.blocking(_end_others, parts, visitor)
    return see(f"{HOME}?done")


async def end_token(request: web.Request) -> web.StreamResponse:
    """Ends one of the person's own tokens; 404 for another's."""
    visitor, parts = visitors.need(request, Role.READER), request.app[PARTS]
    await parts.blocking(_end_token, parts, visitor, int(request.match_info["token"]))
    return see(f"{HOME}?done")


async def _page(request: web.Request, status: int, **values: Any) -> web.StreamResponse:
    visitor, parts = visitors.need(request, Role.READER), request.app[PARTS]
    account = await parts.blocking(_look, parts, visitor)
    shown = {"problem": "", "wait": 0, "done": False, "account": account, "may": _ROLES[visitor.role]}
    return request.app[DRAWING].draw(request, "account.html", status, **(shown | values))


def _look(parts: Parts, visitor: Visitor) -> Account:
    now, alive_ms = now_ms(), int(parts.config.staff.session_hours * 3_600_000)
    with parts.index.read() as connection:
        count, _ = sessions.open_of(connection, visitor.person_id, alive_ms, now)
        usable = [
            one for one in tokens.every(connection, visitor.person_id) if one.ended_at is None and one.expires_at > now
        ]
        seen = visitor.scope.sites or frozenset()
        names = [site.name for site in sites.every(connection) if site.id in seen]
        return Account(scopes.granted(connection, visitor.person_id), names, count, usable)


def _end_others(parts: Parts, visitor: Visitor) -> None:
    by, now = visitor.actor, now_ms()
    with parts.index.write() as connection:
        sessions.end_all(connection, visitor.person_id, now, but=visitor.session_id)
        trail.record(connection, at=now, actor=by.name, role=by.role, address=by.address, action="sessions.end")


def _end_token(parts: Parts, visitor: Visitor, token_id: int) -> None:
    with parts.index.write() as connection:
        tokens.end(connection, token_id, now_ms(), visitor.actor, of=visitor.person_id)
