"""What every view needs: the configuration, this request's database connection, the time, and who asks."""

from __future__ import annotations

import functools
import shutil
import sqlite3
from collections.abc import Callable
from typing import ParamSpec, cast
from urllib.parse import urlencode, urlsplit

from flask import abort, current_app, g, redirect, request, url_for
from werkzeug.wrappers import Response

from appliance.clock import now_ms
from appliance.config import UnitConfig
from appliance.model.help import Disk
from appliance.store_forward import actions
from appliance.store_forward.actions import Actor
from appliance.store_forward.database import open_database, transaction
from appliance.store_forward.full_disk import may_pass
from appliance.webui import sessions
from appliance.webui.late_views import LateViews, View

SESSION_COOKIE = "login"
AUTO = "auto"  # in the address of a page that reloads itself
_LOOK_SECONDS = 1.0  # a person who only looks waits so long for somebody who holds the database
_DEED_SECONDS = 10.0  # and one who changes something
_P = ParamSpec("_P")
Shown = Callable[_P, str | Response | tuple[str, int]]


def unit() -> UnitConfig:
    """The unit's configuration."""
    return cast(UnitConfig, current_app.extensions["unit"])


def db() -> sqlite3.Connection:
    """This request's connection to the queue; closed when the request ends."""
    if "db" not in g:
        patience = _LOOK_SECONDS if request.method == "GET" else _DEED_SECONDS
        g.db = open_database(unit().data, busy_seconds=patience)
    return cast(sqlite3.Connection, g.db)


def close_db(_error: BaseException | None) -> None:
    """Ends the request's connection."""
    connection = g.pop("db", None)
    if connection is not None:
        connection.close()


def now() -> int:
    """The time of this request, Unix ms: one moment for all that it shows and writes."""
    if "now" not in g:
        g.now = now_ms()
    return cast(int, g.now)


def disk() -> Disk:
    """The file system that the studies are on."""
    usage = shutil.disk_usage(unit().data)
    return Disk(total=usage.total, free=usage.free, reserve=unit().storage.reserve_bytes)


def has_tunnel() -> bool:
    """Whether this unit looks after its tunnel itself."""
    return bool(unit().tunnel.endpoint)


def address() -> str:
    """Where this request came from. A proxy's headers are not believed."""
    return request.remote_addr or ""


def alive_ms() -> int:
    """How long a session lives without use, ms."""
    return int(unit().web.session_hours * 3_600_000)


def session() -> sessions.Session | None:
    """Who is logged in. A page that asks by itself is no use of it: a forgotten browser is logged out in the end."""
    if "session" not in g:
        token = request.cookies.get(SESSION_COOKIE, "")
        by_itself = request.endpoint == "studies.live" or AUTO in request.args
        g.session = sessions.find(db(), token, alive_ms(), now(), touch=not by_itself) if token else None
    return cast("sessions.Session | None", g.session)


def actor() -> Actor:
    """Who does this, for the audit trail. Only in views that need a login."""
    who = session()
    if who is None:
        abort(401)
    return Actor(name=who.name, role=who.role, address=address())


def late_views() -> LateViews:
    """Looks that wait for the audit trail."""
    return cast(LateViews, current_app.extensions["late_views"])


def record_view(study_id: int) -> None:
    """Notes in the audit trail that this person looks at the study: now, or as soon as the database takes it."""
    view = View(study_id=study_id, by=actor(), at=now())
    try:
        with transaction(db()):
            actions.record_view(db(), study_id, view.by, view.at)
    except sqlite3.OperationalError as error:
        if not may_pass(error):
            raise
        late_views().keep(view)


def needs_login(view: Shown[_P]) -> Shown[_P]:
    """A view for people who are logged in; others are shown the login page first."""

    @functools.wraps(view)
    def wrapped(*args: _P.args, **kwargs: _P.kwargs) -> str | Response | tuple[str, int]:
        if session() is not None:
            return view(*args, **kwargs)
        if request.method != "GET" or request.endpoint == "studies.live":
            abort(401)
        return redirect(url_for("login.form", next=request.full_path.rstrip("?")))

    return wrapped


def needs_engineer(view: Shown[_P]) -> Shown[_P]:
    """A view for engineers alone."""

    @needs_login
    @functools.wraps(view)
    def wrapped(*args: _P.args, **kwargs: _P.kwargs) -> str | Response | tuple[str, int]:
        who = session()
        if who is None or not who.is_engineer:
            abort(403)
        return view(*args, **kwargs)

    return wrapped


def own_address() -> str:
    """The address by which the page of this request reloads itself."""
    query = urlencode({**request.args.to_dict(), AUTO: "1"})
    return f"{url_for(request.endpoint or 'studies.index', **(request.view_args or {}))}?{query}"


def local_path(target: str) -> str:
    """`target` when it is a path of this page, else the first page: a link to here never leads to somewhere else."""
    parts = urlsplit(target)
    safe = target.startswith("/") and not target.startswith(("//", "/\\")) and not parts.scheme and not parts.netloc
    return target if safe and target.isprintable() and "\\" not in target else url_for("studies.index")
