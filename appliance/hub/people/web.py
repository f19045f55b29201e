"""The hub's face for people, on the hub's own listener: which paths are whose, and what stands around them.

Another face for people is a line of `_FACES`: its pages below `as_page`, what viewers ask below `as_service`. A path
that is nobody's belongs to the sites, who need their secret for every answer.
"""

from __future__ import annotations

from typing import Final

import msgspec
from aiohttp import web
from aiohttp.typedefs import Middleware

from appliance.hub.access import Handler, answer_json
from appliance.hub.parts import Parts
from appliance.hub.people import account_page, login_page, pages, visitors
from appliance.hub.people.addresses import proxies_of
from appliance.hub.people.doorkeeper import Doorkeeper
from appliance.hub.people.login_page import DOORKEEPER
from appliance.hub.people.pages import DRAWING, Drawing, as_page
from appliance.hub.people.values import Role
from appliance.hub.people.visitors import PROXIES, as_service

_FACES: Final[tuple[tuple[str, Middleware], ...]] = (("/people/whoami", as_service), ("/people", as_page))
_KINDS: Final = {"css": "text/css", "svg": "image/svg+xml"}
_YEAR: Final = 31_536_000


class WhoAmI(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks, and whose studies they may see now; `sites` is null for all."""

    name: str
    role: str
    sites: list[str] | None


def install(app: web.Application, parts: Parts) -> None:
    """Gives the application the pages of this room. Raises ConfigError for `staff.proxies`."""
    app[PROXIES] = proxies_of(parts.config.staff.proxies)
    app[DRAWING] = Drawing("appliance.hub.people", parts.config.hub.name)
    app[DOORKEEPER] = doorkeeper = Doorkeeper(parts.index)
    app.add_routes([*login_page.routes(), *account_page.routes()])
    app.add_routes(
        [
            web.get("/people/whoami", whoami),
            web.get("/people/static/{name}", static),
            web.get("/people", home),
            web.get("/people/", home),
        ]
    )

    async def close(_: web.Application) -> None:
        await parts.blocking(doorkeeper.close)

    app.on_cleanup.append(close)


def divided(for_sites: Middleware) -> Middleware:
    """One middleware for all paths: what is for people goes through its face, everything else through `for_sites`."""

    @web.middleware
    async def divide(request: web.Request, handler: Handler) -> web.StreamResponse:
        # By the route that was found, not by how the path is written: what guards a handler can't be talked around.
        resource = request.match_info.route.resource
        return await face_of(resource.canonical if resource else request.path, for_sites)(request, handler)

    return divide


def face_of(path: str, otherwise: Middleware) -> Middleware:
    """Whose path it is. Pure."""
    faces = (face for prefix, face in _FACES if path == prefix or path.startswith(f"{prefix}/"))
    return next(faces, otherwise)


async def home(_request: web.Request) -> web.StreamResponse:
    """The first page."""
    return pages.see(pages.HOME)


async def whoami(request: web.Request) -> web.StreamResponse:
    """What a viewer's token, or a session, stands for."""
    visitor = visitors.need(request, Role.READER)
    sites = visitor.scope.sites
    seen = None if sites is None else sorted(sites)
    return answer_json(WhoAmI(name=visitor.name, role=visitor.role, sites=seen))


async def static(request: web.Request) -> web.StreamResponse:
    """A file of the pages, by its name: one of those that were read at start."""
    name = request.match_info["name"]
    data = request.app[DRAWING].files.get(name)
    if data is None:
        raise web.HTTPNotFound
    headers = {"Cache-Control": f"public, max-age={_YEAR}, immutable"}
    return web.Response(body=data, content_type=_KINDS[name.rpartition(".")[2]], headers=headers)
