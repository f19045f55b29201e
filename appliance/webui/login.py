"""Logging in and out, and choosing a language."""

from __future__ import annotations

import math

from flask import Blueprint, abort, make_response, redirect, render_template, request, session, url_for
from werkzeug.wrappers import Response

from appliance.webui import context, sessions, users
from appliance.webui.catalogue import shipped
from appliance.webui.language import COOKIE, duration
from appliance.webui.say import _

blueprint = Blueprint("login", __name__)
_YEAR = 31_536_000


@blueprint.get("/login")
def form() -> str:
    """The login page. While there is no user it says how to make one."""
    return _page()


def _page(problem: str = "", name: str = "") -> str:
    return render_template(
        "login.html",
        problem=problem,
        name=name,
        next=context.local_path(request.values.get("next", "/")),
        nobody=not users.anybody(context.db()),
    )


@blueprint.post("/login")
def enter() -> Response | tuple[str, int] | tuple[str, int, dict[str, str]]:
    """Checks name and PIN. The same answer for a wrong name and a wrong PIN; 429 with Retry-After for too many."""
    name = request.form.get("name", "")
    answer = sessions.log_in(context.db(), name, request.form.get("pin", ""), context.address(), context.now())
    if answer.wait_ms:
        seconds = math.ceil(answer.wait_ms / 1000)
        problem = _("Too many wrong PINs. Wait %(time)s and try again.", time=duration(seconds))
        return _page(problem, name[:40]), 429, {"Retry-After": str(seconds)}
    if answer.token is None:
        return _page(_("Name or PIN is wrong."), name[:40]), 401
    session.clear()  # a form token from before the login is not one from after it
    response = redirect(context.local_path(request.form.get("next", "/")))
    # Not `Secure`: the page is plain HTTP on the hospital's own network (docs/decisions/0006).
    response.set_cookie(context.SESSION_COOKIE, answer.token, httponly=True, samesite="Strict")
    return response


@blueprint.post("/logout")
def leave() -> Response:
    """Ends the session here and in the database."""
    who = context.session()
    if who is not None:
        sessions.log_out(context.db(), who, context.address(), context.now())
    session.clear()
    response = redirect(url_for("login.form"))
    response.delete_cookie(context.SESSION_COOKIE, httponly=True, samesite="Strict")
    return response


@blueprint.get("/language/<code>")
def choose(code: str) -> Response:
    """Keeps the chosen language in a cookie and goes back to where the person was."""
    if code not in shipped():
        abort(404)
    response = make_response(redirect(context.local_path(request.args.get("next", "/"))))
    response.set_cookie(COOKIE, code, max_age=_YEAR, httponly=True, samesite="Lax")
    return response
