"""The page as a WSGI application: its parts, its headers, and what it says when something goes wrong."""

from __future__ import annotations

import functools
import gzip
import hashlib
import secrets
import sqlite3
from importlib import resources
from typing import Any, Final

from flask import Flask, Response, g, render_template, request, url_for
from flask_babel import Babel
from flask_wtf.csrf import CSRFError, CSRFProtect
from werkzeug.exceptions import HTTPException

from appliance.config import UnitConfig
from appliance.errors import ApplianceError, NotFoundError
from appliance.logs import get_logger
from appliance.mistakes import where
from appliance.webui import context, engineer, language, login, sending, studies
from appliance.webui.catalogue import Catalogues, own_name, shipped
from appliance.webui.late_views import LateViews
from appliance.webui.names import clean, person_name
from appliance.webui.say import _

BODY_MAX: Final = 65_536
_FIELDS_MAX: Final = 100
_ZIP_FROM: Final = 1400  # bytes: one packet
_YEAR: Final = 31_536_000

_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


def create_app(config: UnitConfig) -> Flask:
    """The application for one unit. It opens the database on each request, never at creation."""
    app = Flask(__name__, static_url_path="/static")
    app.config.update(
        # Signs only the cookie of form tokens and notices: logins are in the database. A restart makes old forms stale.
        SECRET_KEY=secrets.token_bytes(32),
        SESSION_COOKIE_NAME="form",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Strict",
        WTF_CSRF_TIME_LIMIT=None,  # a token is as old as its cookie
        WTF_CSRF_SSL_STRICT=False,  # it wants a Referer, and this page sends none
        MAX_CONTENT_LENGTH=BODY_MAX,
        MAX_FORM_PARTS=_FIELDS_MAX,
        SEND_FILE_MAX_AGE_DEFAULT=_YEAR,
    )
    # Both would answer with a redirect whose address is made of the Host that the request claims.
    app.url_map.merge_slashes = app.url_map.strict_slashes = False
    app.extensions.update(unit=config, late_views=LateViews())
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    babel = Babel(app, default_locale="en", locale_selector=language.select_language)
    babel.domain_instance = Catalogues()
    CSRFProtect(app)
    for part in (login.blueprint, studies.blueprint, sending.blueprint, engineer.blueprint):
        app.register_blueprint(part)
    app.teardown_appcontext(context.close_db)
    app.after_request(_finish)
    app.context_processor(_for_templates)
    _name_filters(app)
    _say_errors(app)
    return app


def _name_filters(app: Flask) -> None:
    app.jinja_env.filters.update(
        clean=clean,
        person=person_name,
        number=language.number,
        percent=language.percent,
        size=language.size,
        birthday=language.birth_day,
        moment=lambda at: language.moment(at, context.now()),
    )


def _for_templates() -> dict[str, Any]:
    return {
        "site": context.unit().site,
        "who": context.session() if not g.get("broken") else None,
        "direction": language.direction,
        "languages": [(code, own_name(code)) for code in shipped()],
        "language": str(language.current()),
        "asset": _asset,
        "own_address": context.own_address,
        "here": request.full_path.rstrip("?") if request.method == "GET" else url_for("studies.index"),
    }


@functools.cache
def _asset_digest(name: str) -> str:
    data = (resources.files("appliance.webui") / "static" / name).read_bytes()
    return hashlib.sha256(data).hexdigest()[:12]


def _asset(name: str) -> str:
    """The address of a static file; it changes with the content, so that browsers may keep it for a year."""
    return url_for("static", filename=name, v=_asset_digest(name))


def _finish(response: Response) -> Response:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    if request.endpoint != "static":
        response.headers["Cache-Control"] = "no-store"
    response.vary.add("Accept-Encoding")
    return _zip(response)


def _zip(response: Response) -> Response:
    """Texts of more than a packet go zipped: a ward's network may be a phone's hotspot."""
    zippable = response.status_code == 200 and (response.mimetype or "").startswith("text/")
    if not zippable or not request.accept_encodings.best_match(["gzip"]) or response.content_encoding:
        return response
    response.direct_passthrough = False
    data = response.get_data()
    if len(data) >= _ZIP_FROM:
        response.set_data(gzip.compress(data, 5, mtime=0))
        response.content_encoding = "gzip"
    return response


def _say_errors(app: Flask) -> None:
    log = get_logger()

    def say(status: int, title: str, text: str) -> tuple[str, int]:
        g.broken = status >= 500
        return render_template("error.html", status=status, title=title, text=text), status

    @app.errorhandler(CSRFError)
    def stale(_error: CSRFError) -> tuple[str, int]:
        return say(
            400,
            _("This page was open for too long"),
            _("Nothing was changed. Go back, reload the page, and press the button again."),
        )

    @app.errorhandler(HTTPException)
    def refused(error: HTTPException) -> tuple[str, int]:
        return say(error.code or 500, *_http_words(error.code or 500))

    @app.errorhandler(NotFoundError)
    @app.errorhandler(OverflowError)  # a number in the address that no row can have
    def absent(_error: Exception) -> tuple[str, int]:
        return say(404, *_http_words(404))

    @app.errorhandler(sqlite3.Error)
    @app.errorhandler(OSError)
    @app.errorhandler(ApplianceError)
    def broken(error: Exception) -> tuple[str, int]:
        error_id = error.id if isinstance(error, ApplianceError) else "E201"
        log.error("page failed", error_id=error_id, exception=type(error).__name__, path=request.endpoint)
        return say(503, *(_http_words(503) if request.method == "GET" else _unchanged_words()))

    # The last line of defence. What Flask itself would log has the error's own words, and these may be a patient's.
    @app.errorhandler(Exception)
    def mistaken(error: Exception) -> tuple[str, int]:
        log.error("page failed", exception=type(error).__name__, path=request.endpoint, code=where(error))
        return say(500, *_http_words(500))


def _unchanged_words() -> tuple[str, str]:
    """What to say to who wanted to change something, or to log in, which is written down too."""
    return (
        _("This box can't write to its database now"),
        _("Nothing was changed. Studies that were acknowledged are safe. The disk may be full: call the engineer."),
    )


def _http_words(status: int) -> tuple[str, str]:
    words = {
        401: (_("You are no longer logged in"), _("Nothing was changed. Log in and press the button again.")),
        403: (_("Only an engineer may do this"), _("Ask the engineer, or log in as one.")),
        404: (_("There is no such page"), _("The study may have been removed. Go to the list of studies.")),
        405: (_("There is no such page"), _("Go to the list of studies.")),
        413: (_("That is too much"), _("Nothing was changed. What you typed is longer than this page accepts.")),
        503: (
            _("This box can't read its database now"),
            _("Studies that were acknowledged are safe. Wait a minute and reload; if this stays, call the engineer."),
        ),
    }
    return words.get(
        status, (_("This did not work"), _("Nothing was changed. Go to the list of studies and try again."))
    )
