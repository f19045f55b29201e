"""The pause: what may use the line now, in words, and the page on which a person lets studies wait."""

from __future__ import annotations

from typing import Final

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from appliance.link.allowance import Hold, Reason
from appliance.model.priority import Priority
from appliance.store_forward import link_use
from appliance.store_forward.database import transaction
from appliance.store_forward.link_use import LinkUse
from appliance.webui import context
from appliance.webui.context import db, needs_login, now
from appliance.webui.names import clean
from appliance.webui.say import _
from appliance.webui.words import PRIORITIES, later

blueprint = Blueprint("sending", __name__)
_HOUR: Final = 3_600_000
_SPANS: Final = {"1": _HOUR, "4": 4 * _HOUR, "12": 12 * _HOUR, "open": None}


@blueprint.get("/pause")
@needs_login
def pause_form() -> str:
    """How long studies are to wait."""
    use = current_use()
    who = context.session()
    return render_template(
        "pause.html",
        said=hold_words(use, now()),
        paused=use.pause is not None,
        choices=_choices(),
        may_hold_stat=bool(who and who.is_engineer),
    )


def _choices() -> list[tuple[str, str]]:
    return [
        ("1", _("One hour")),
        ("4", _("4 hours")),
        ("12", _("12 hours")),
        ("open", _("Until somebody resumes")),
    ]


@blueprint.post("/pause")
@needs_login
def pause() -> Response:
    """Lets all but stat studies wait; an engineer may let these wait too."""
    span = request.form.get("for", "")
    if span not in _SPANS:
        abort(400)
    who, milliseconds = context.session(), _SPANS[span]
    stat_too = bool(request.form.get("stat")) and bool(who and who.is_engineer)
    until = None if milliseconds is None else now() + milliseconds
    with transaction(db()):
        link_use.pause(db(), context.actor(), now(), until=until, stat_too=stat_too)
    flash(hold_words(current_use(), now()))
    return redirect(url_for("studies.index"))


@blueprint.post("/resume")
@needs_login
def resume() -> Response:
    """Ends the pause."""
    with transaction(db()):
        ended = link_use.resume(db(), context.actor(), now())
    if ended:
        flash(_("Sending goes on."))
    return redirect(url_for("studies.index"))


def current_use() -> LinkUse:
    """How the line may be used now."""
    config = context.unit()
    return link_use.read_use(db(), config, link_use.rules_in(config), now())


def hold_words(use: LinkUse, moment: int) -> str:
    """Why studies wait, until when, and what goes all the same; empty when nothing is held back."""
    hold = use.allowance.hold
    if hold is None:
        return ""
    going = _going(use)
    return _reason(hold, moment) + (f" {going}" if going else "")


def _going(use: LinkUse) -> str:
    names = ", ".join(str(PRIORITIES[priority]) for priority in sorted(use.allowance.may_go))
    if not names:
        return _("Nothing goes until then, not even stat studies.")
    return _("These still go: %(names)s.", names=names) if Priority.ROUTINE not in use.allowance.may_go else ""


def _reason(hold: Hold, moment: int) -> str:
    until = later(hold.until, moment) if hold.until is not None else ""
    if hold.reason is Reason.PAUSED:
        name = clean(hold.name)
        if until:
            return _("Paused by %(name)s until %(time)s.", name=name, time=until)
        return _("Paused by %(name)s until somebody resumes.", name=name)
    if hold.reason is Reason.BUDGET:
        name = clean(hold.name)
        if hold.never:
            return _("The budget set for %(name)s is zero: call the engineer.", name=name)
        return _("The monthly budget of %(name)s is spent; next at %(time)s.", name=name, time=until)
    if until:
        return _("Outside the hours set for sending; next at %(time)s.", time=until)
    return _("No hours are set in which these studies may go: call the engineer.")
