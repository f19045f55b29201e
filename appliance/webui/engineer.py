"""The engineer's pages: health, devices, users, audit trail."""

from __future__ import annotations

from typing import Any, Literal

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from appliance.model import help as needs
from appliance.model.priority import Priority
from appliance.store_forward import actions, views
from appliance.store_forward.database import transaction
from appliance.webui import context, health_words, help_words, pins, timeline, users, words
from appliance.webui.context import db, needs_engineer, now
from appliance.webui.names import clean
from appliance.webui.say import _, _l

blueprint = Blueprint("engineer", __name__, url_prefix="/engineer")
_AUDIT_PAGE = 50


@blueprint.get("/")
@needs_engineer
def health() -> str:
    """Line, hub, disk, clock and processes, each with what it means; and what needs a person."""
    box = views.read_box(db(), context.disk(), now(), tunnel=context.has_tunnel())
    return render_template(
        "health.html",
        checks=health_words.health_checks(box, views.read_processes(db()), now()),
        help=help_words.help_lines(needs.help_list(box, now()), now(), engineer=True),
    )


@blueprint.get("/devices")
@needs_engineer
def devices() -> str:
    """Who may send, who may not, and who asked."""
    return render_template(
        "devices.html",
        devices=views.read_devices(db()),
        configured=context.unit().dicom.modalities,
        priorities=[(p.word, words.PRIORITIES[p]) for p in Priority],
        words_of={int(p): p.word for p in Priority},
    )


@blueprint.post("/devices/<int:device_id>/<any(allowed, refused):decision>")
@needs_engineer
def decide(device_id: int, decision: Literal["allowed", "refused"]) -> Response:
    """Lets a device send, or not."""
    with transaction(db()):
        actions.decide_device(db(), device_id, decision, context.actor(), now())
    flash(_("The device may send now.") if decision == "allowed" else _("The device may not send."))
    return redirect(url_for("engineer.devices"))


@blueprint.post("/devices/<int:device_id>")
@needs_engineer
def describe(device_id: int) -> Response:
    """Sets a device's name and the priority that its studies start with."""
    try:
        priority = Priority.from_word(request.form.get("priority", ""))
    except KeyError:
        abort(400)
    name = clean(request.form.get("name", ""))[:64]
    with transaction(db()):
        actions.describe_device(db(), device_id, name, priority, context.actor(), now())
    flash(_("Saved."))
    return redirect(url_for("engineer.devices"))


_USER_PROBLEMS = {
    "form": _l("Not saved. A PIN has 6 to 16 digits."),
    "repeats": _l("Not saved. This PIN repeats itself; it is too easy to guess."),
    "sequence": _l("Not saved. This PIN counts up or down; it is too easy to guess."),
    "common": _l("Not saved. This PIN is among the first that people try."),
    "name": _l("Not saved. A name has 1 to 40 letters, digits, spaces or . ' -"),
    "taken": _l("Not saved. There is a user of this name already."),
    "last-engineer": _l("Not done. This is the last engineer; add another one first."),
}


@blueprint.get("/users")
@needs_engineer
def people() -> str:
    """Who may log in."""
    return _people()


def _people(problem: str = "", name: str = "") -> str:
    listed = users.list_users(db(), now() - context.alive_ms())
    role_words = {"radiographer": _("Radiographer"), "engineer": _("Engineer")}
    shown: dict[str, Any] = {"users": listed, "roles": role_words, "shortest": pins.SHORTEST, "longest": pins.LONGEST}
    return render_template("users.html", problem=problem, name=name, **shown)


@blueprint.post("/users")
@needs_engineer
def add() -> Response | tuple[str, int]:
    """Adds a user."""
    name, role = request.form.get("name", "")[:80], request.form.get("role", "")
    if role not in users.ROLES:
        abort(400)
    try:
        with transaction(db()):
            users.add_user(db(), name, role, request.form.get("pin", ""), now(), context.actor())
    except users.BadUserError as error:
        return _people(str(_USER_PROBLEMS[error.problem]), name), 400
    flash(_("%(name)s may log in now.", name=clean(name)))
    return redirect(url_for("engineer.people"))


@blueprint.post("/users/<int:user_id>/<any(pin, disable, enable, end):change>")
@needs_engineer
def change_user(user_id: int, change: str) -> Response | tuple[str, int]:
    """A new PIN, shutting out, letting in again, or ending every session of a user."""
    by, at = context.actor(), now()
    try:
        with transaction(db()):
            if change == "pin":
                name = users.find(db(), user_id)["name"]
                users.set_pin(db(), name, request.form.get("pin", ""), at, by)
            elif change == "end":
                users.end_sessions(db(), user_id, at, by)
            else:
                users.set_disabled(db(), user_id, change == "disable", at, by)
    except users.BadUserError as error:
        return _people(str(_USER_PROBLEMS[error.problem])), 400
    flash(_("Done."))
    return redirect(url_for("engineer.people"))


@blueprint.get("/audit")
@needs_engineer
def audit() -> str:
    """The audit trail, newest first, a page at a time."""
    before = request.args.get("before", type=int) or views.Filter().before[1]
    rows = views.read_audit(db(), before, _AUDIT_PAGE + 1)
    older = rows[_AUDIT_PAGE - 1]["id"] if len(rows) > _AUDIT_PAGE else None
    shown = [(row, timeline.action_words(row["action"])) for row in rows[:_AUDIT_PAGE]]
    return render_template("audit.html", rows=shown, older=older)
