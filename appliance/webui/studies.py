"""The list of studies, the page of one study, and what a radiographer can do to it."""

from __future__ import annotations

import hashlib
import re
from datetime import date
from typing import Any, Final
from urllib.parse import urlencode

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from appliance.model import help as needs
from appliance.model import status
from appliance.model.priority import Priority
from appliance.store_forward import actions, views
from appliance.store_forward.database import transaction
from appliance.webui import context, health_words, help_words, language, sending, timeline, words
from appliance.webui.context import db, needs_login, now
from appliance.webui.say import _, _n

blueprint = Blueprint("studies", __name__)
_SEARCH_LONGEST: Final = 64


@blueprint.get("/")
@needs_login
def index() -> str:
    """Everything at a glance: the box in a sentence, what needs help, the studies."""
    facts = _glance()
    return render_template(
        "studies.html",
        **facts,
        etag=_etag(render_template("live.html", **facts)),
        modalities=views.read_modalities(db()),
    )


@blueprint.get("/live")
@needs_login
def live() -> Response:
    """The parts of the list that change, for the page's few lines of JavaScript; 304 when nothing did."""
    body = render_template("live.html", **_glance())
    response = Response(body, mimetype="text/html")
    response.set_etag(_etag(body))
    return response.make_conditional(request.environ)


def _etag(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()[:24]


def _glance() -> dict[str, Any]:
    connection, moment = db(), now()
    wanted = _wanted()
    found, more = views.list_studies(connection, wanted, moment)
    box = views.read_box(connection, context.disk(), moment, tunnel=context.has_tunnel())
    counts = views.read_counts(connection, language.midnight(moment), moment)
    backlog = views.read_backlog(connection)
    sentence = status.box_sentence(counts, box.line)
    who, use = context.session(), sending.current_use()
    return {
        "banner": words.banner(sentence, counts, box.line, backlog, moment),
        "help": help_words.help_lines(needs.help_list(box, moment), moment, engineer=bool(who and who.is_engineer)),
        "studies": [study_row(line, box.line, moment) for line in found],
        "use": {"said": sending.hold_words(use, moment), "paused": use.pause is not None},
        "strip": health_words.health_strip(box, moment),
        "older": _url(before=f"{found[-1].last_received_at}-{found[-1].id}") if more else "",
        "newest": _url() if request.args.get("before") else "",
        "states": [(code, label, _url(state=code)) for code, label in _state_filters()],
        "wanted": {name: request.args.get(name, "")[:_SEARCH_LONGEST] for name in ("state", "q", "modality", "day")},
        "live_url": f"{url_for('studies.live')}?{request.query_string.decode('ascii', 'ignore')}".rstrip("?"),
    }


def _state_filters() -> list[tuple[str, str]]:
    return [
        ("", _("All")),
        ("under_way", _("Not at the hub yet")),
        ("at_hub", _("At the hub")),
        ("needs_help", _("Needs help")),
    ]


def _url(**changed: str) -> str:
    kept = {k: v for k, v in request.args.to_dict().items() if k in {"state", "q", "modality", "day"} and v}
    query = urlencode({name: value for name, value in {**kept, **changed}.items() if value})
    return f"{url_for('studies.index')}?{query}".rstrip("?")


def _wanted() -> views.Filter:
    """The filter that the address of the page asks for; what can't be read asks for nothing."""
    args = request.args
    state = args.get("state", "any")
    place = re.fullmatch(r"(\d{1,18})-(\d{1,18})", args.get("before", ""))
    start, end = _day(args.get("day", ""))
    return views.Filter(
        state=state if state in views.STATES else "any",
        text=args.get("q", "")[:_SEARCH_LONGEST],
        modality=args.get("modality", "")[:16],
        from_at=start,
        until_at=end,
        before=(int(place[1]), int(place[2])) if place else views.Filter().before,
    )


def _day(text: str) -> tuple[int, int]:
    try:
        return language.day_bounds(date.fromisoformat(text))
    except (ValueError, OverflowError):
        return views.Filter().from_at, views.Filter().until_at


def study_row(line: views.StudyLine, link: status.LineFacts, moment: int) -> dict[str, Any]:
    """What a template shows of a study, in a list and at the head of its page."""
    return {
        "line": line,
        "state": line.status.state,
        "word": words.state_word(line.status),
        "detail": words.state_detail(line, link, moment),
        "images": words.images(line.status.images),
        "exam": words.exam(line),
        "taken": words.taken(line, moment),
        "priority": words.PRIORITIES[line.priority],
        "progress": line.status.percent,
        "going": line.status.state in {status.StudyState.ON_ITS_WAY, status.StudyState.WAITING},
    }


@blueprint.get("/studies/<int:study_id>")
@needs_login
def show(study_id: int) -> str:
    """One study: what happened to it, how far it is, and what can be done. Looking at it is in the audit trail."""
    page = views.find_study(db(), study_id, now())
    if page is None:
        abort(404)
    context.record_view(study_id)
    row = study_row(page.line, views.read_line(db(), now()), now())
    return render_template(
        "study.html",
        page=page,
        row=row,
        wire=words.wire(page.line),
        events=[(event.at, timeline.event_words(event)) for event in timeline.gather(page.events)],
        problems=[(item["count"], *help_words.error_words(item["reason"])) for item in page.quarantined],
        priorities=[(p, words.PRIORITIES[p], words.PRIORITY_MEANINGS[p]) for p in Priority],
        unchecked=page.line.conflicts + page.line.identity_conflict > page.line.conflicts_checked,
    )


@blueprint.post("/studies/<int:study_id>/priority")
@needs_login
def priority(study_id: int) -> Response:
    """Makes a study stat, urgent, routine, or a prior."""
    try:
        wanted = Priority.from_word(request.form.get("priority", ""))
    except KeyError:
        abort(400)
    with transaction(db()):
        changed = actions.set_priority(db(), study_id, wanted, context.actor(), now())
    if changed:
        flash(_("The priority is now %(priority)s.", priority=words.PRIORITIES[wanted]))
    return redirect(url_for("studies.show", study_id=study_id))


@blueprint.post("/studies/<int:study_id>/send-again")
@needs_login
def send_again(study_id: int) -> Response:
    """Sends again what is stuck, or all of a study that is at the hub already."""
    with transaction(db()):
        count = actions.send_again(db(), study_id, context.actor(), now())
    if count:
        flash(_n("%(count)s image goes again.", "%(count)s images go again.", count, count=language.number(count)))
    else:
        flash(_("Nothing had to be sent again: every image is on its way, or was removed after the hub had it."))
    return redirect(url_for("studies.show", study_id=study_id))


@blueprint.post("/studies/<int:study_id>/checked")
@needs_login
def checked(study_id: int) -> Response:
    """A person looked at the conflicts of this study."""
    with transaction(db()):
        actions.check_conflicts(db(), study_id, context.actor(), now())
    flash(_("Noted. A new conflict in this study will ask again."))
    return redirect(url_for("studies.show", study_id=study_id))


@blueprint.post("/refusals/<int:refused_id>/dismiss")
@needs_login
def dismiss(refused_id: int) -> Response:
    """Takes a refusal off the list of what needs help."""
    with transaction(db()):
        actions.dismiss_refused(db(), refused_id, context.actor(), now())
    return redirect(url_for("studies.index"))
