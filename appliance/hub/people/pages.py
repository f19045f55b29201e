"""Pages for people: drawn by templates in their language, with a strict policy, and errors in words."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from importlib import resources
from typing import Any, Final
from urllib.parse import quote, urlsplit

from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined

from appliance.errors import DatabaseError, DiskFullError, NotFoundError
from appliance.hub.access import Handler
from appliance.hub.bodies import small_body
from appliance.hub.parts import PARTS
from appliance.hub.people import forms, language, visitors
from appliance.hub.people.language import _l
from appliance.logs import get_logger
from appliance.mistakes import where
from appliance.upload.server import TusError

HOME: Final = "/people/account"
LOGIN: Final = "/people/login"
FORM_COOKIE: Final = "form"
LANGUAGE_COOKIE: Final = "language"
FORM: Final = web.RequestKey("form", dict[str, str])
HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_STALE: Final = (
    _l("This page was open for too long"),
    _l("Nothing was changed. Go back, reload the page, and press the button again."),
)
_WORDS: Final = {
    401: (_l("You are no longer logged in"), _l("Nothing was changed. Log in and try again.")),
    403: (_l("You may not do this"), _l("Ask an administrator of the hub.")),
    404: (_l("There is no such page"), _l("Go back, or to your account.")),
    413: (_l("That is too much"), _l("Nothing was changed. What you typed is longer than this page accepts.")),
    503: (
        _l("The hub can't use its database now"),
        _l("Nothing was changed, and no study is lost. Try again in a minute; if this stays, call the administrator."),
    ),
}
_OTHER: Final = (_l("This did not work"), _l("Nothing was changed. Go back and try again."))

log = get_logger()


class Drawing:
    """The templates, in every language, and the static files. The address of one of these changes with its content,
    so that browsers may keep it for a year.
    """

    def __init__(self, room: str, hub_name: str) -> None:
        self._room = room
        self.files = {each.name: each.read_bytes() for each in (resources.files(room) / "static").iterdir()}
        self._addresses = {name: f"/people/static/{name}?v={_short_digest(data)}" for name, data in self.files.items()}
        self.languages = language.shipped()
        self._environments = {code: self._environment(code) for code in self.languages}
        self._named = [(code, language.own_name(code)) for code in self.languages]
        self._hub = hub_name

    def _environment(self, code: str) -> Environment:
        environment = Environment(
            loader=PackageLoader(self._room),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=["jinja2.ext.i18n"],
        )
        texts = language.translations(code)
        environment.install_gettext_callables(texts.gettext, texts.ngettext, newstyle=True)  # type: ignore[attr-defined]
        environment.filters["moment"] = moment
        environment.globals["asset"] = self._addresses.__getitem__
        return environment

    def draw(self, request: web.Request, template: str, status: int = 200, **values: Any) -> web.Response:
        """The page, in the language of the request."""
        code = self.language_of(request)
        common = {
            "language": code,
            "languages": self._named,
            "hub": self._hub,
            "who": visitors.visitor_of(request),
            "here": request.path_qs if request.method == "GET" else HOME,
            "form_field": forms.FIELD,
            "form_token": forms.form_token(cookie_of_forms(request)),
        }
        text = self._environments[code].get_template(template).render(common | values)
        return web.Response(status=status, text=text, content_type="text/html")

    def language_of(self, request: web.Request) -> str:
        """Its code."""
        chosen = request.cookies.get(LANGUAGE_COOKIE, "")
        return language.choose(chosen, request.headers.get("Accept-Language", ""), self.languages)


DRAWING: Final = web.AppKey("drawing", Drawing)


def _short_digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:12]


def moment(at: int) -> str:
    """`2026-11-24 13:05 UTC`: the hub's people are in more than one time zone."""
    return f"{datetime.fromtimestamp(at / 1000, UTC):%Y-%m-%d %H:%M} UTC"


def cookie_of_forms(request: web.Request) -> str:
    """What the forms of this request are bound to."""
    return request.cookies.get(visitors.SESSION_COOKIE, "") or request.cookies.get(FORM_COOKIE, "")


def set_cookie(
    request: web.Request, response: web.StreamResponse, name: str, value: str, max_age: int | None = None
) -> None:
    """A cookie that no script reads and no other site sends; by HTTPS alone where the hub is behind it."""
    secure = request.app[PARTS].config.staff.https
    response.set_cookie(name, value, max_age=max_age, path="/", httponly=True, samesite="Strict", secure=secure)


def see(location: str) -> web.Response:
    """303: the browser gets that page next."""
    return web.Response(status=303, headers={"Location": location})


def local_path(target: str) -> str:
    """`target` when it is a path of this hub, else the first page: a link to here never leads to somewhere else."""
    parts = urlsplit(target) if target.isprintable() and "\\" not in target and "[" not in target else None
    safe = parts is not None and target.startswith("/") and not target.startswith("//")
    return target if safe and parts is not None and not parts.scheme and not parts.netloc else HOME


def to_login(request: web.Request) -> web.Response:
    """The login first, and then back to here."""
    return see(f"{LOGIN}?next={quote(request.path_qs, safe='')}")


@web.middleware
async def as_page(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Around every page: who asks, whether a form is ours, the policy, and every error as a page.

    A token is not looked at: what a person may do on a page, a viewer may not.
    """
    try:
        response = await _answer(request, handler)
    except (TusError, web.HTTPException) as error:
        response = refused(request, error.answer.status if isinstance(error, TusError) else error.status)
    except NotFoundError:
        response = refused(request, 404)
    except (DatabaseError, DiskFullError) as error:
        log.error("a page failed", error_id=error.id, method=request.method)
        response = refused(request, 503)
    # The last line of defence. One request that meets a bug of ours is answered, logged, and disturbs no other.
    except Exception as error:  # noqa: BLE001
        log.error("a page failed", exception=type(error).__name__, method=request.method, code=where(error))
        response = refused(request, 500)
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response


async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    visitor = await visitors.by_session(request)
    if visitor:
        request[visitors.VISITOR] = visitor
    if request.method == "POST":
        form = await _read_form(request)
        if not forms.is_ours(form, cookie_of_forms(request), request.headers.get("Sec-Fetch-Site", "")):
            return request.app[DRAWING].draw(request, "error.html", 400, title=_STALE[0], text=_STALE[1])
        request[FORM] = form
    return await handler(request)


async def _read_form(request: web.Request) -> dict[str, str]:
    """Raises TusError 413 and 408, HTTPUnsupportedMediaType."""
    body = await small_body(request, request.app[PARTS], most=forms.BODY_MAX, what="A form")
    try:
        return forms.parse(body, request.content_type)
    except ValueError:
        raise web.HTTPUnsupportedMediaType from None


def refused(request: web.Request, status: int) -> web.StreamResponse:
    """The error as a page; who is not logged in and only looks is shown the login."""
    if status == 401 and request.method == "GET":
        return to_login(request)
    title, text = _WORDS.get(404 if status == 405 else status, _OTHER)
    return request.app[DRAWING].draw(request, "error.html", status, title=title, text=text)
