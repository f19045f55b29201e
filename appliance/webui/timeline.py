"""What happened to a study, in sentences; and what people did, for the audit list.

A process records an event as a word, a count and a detail; the sentence for each word is here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from flask_babel.speaklater import LazyString

from appliance.model.priority import Priority
from appliance.webui.language import number
from appliance.webui.names import clean
from appliance.webui.say import _, _l, _n
from appliance.webui.words import PRIORITIES


def _priority(_count: int, detail: str) -> str:
    word = next((str(PRIORITIES[p]) for p in Priority if p.word == detail), clean(detail))
    return _("Priority changed to %(priority)s.", priority=word)


def _send_again(count: int, detail: str) -> str:
    return _n(
        "%(who)s asked to send %(count)s image again.",
        "%(who)s asked to send %(count)s images again.",
        count,
        who=clean(detail),
        count=number(count),
    )


def _conflicts_checked(_count: int, detail: str) -> str:
    return _("%(who)s looked at what was in conflict.", who=clean(detail))


EVENTS: Final[dict[str, Callable[[int, str], str]]] = {
    "priority": _priority,
    "send_again": _send_again,
    "conflicts_checked": _conflicts_checked,
}


def event_words(kind: str, count: int, detail: str) -> str:
    """One line of a study's timeline; the bare word for an event of a later release."""
    words = EVENTS.get(kind)
    return words(count, detail) if words else clean(f"{kind} {count or ''} {detail}")


ACTIONS: Final[dict[str, LazyString]] = {
    "login": _l("logged in"),
    "login_failed": _l("failed to log in"),
    "logout": _l("logged out"),
    "view_study": _l("looked at a study"),
    "change_priority": _l("changed a priority"),
    "send_again": _l("sent a study again"),
    "check_conflicts": _l("checked a conflict"),
    "dismiss_refusal": _l("took a refusal off the list"),
    "decide_device": _l("decided about a device"),
    "describe_device": _l("described a device"),
    "add_user": _l("added a user"),
    "set_pin": _l("set a new PIN"),
    "disable_user": _l("shut a user out"),
    "enable_user": _l("let a user in again"),
    "end_sessions": _l("logged a user out everywhere"),
}


def action_words(action: str) -> str:
    """What a line of the audit trail says was done."""
    return str(ACTIONS.get(action, clean(action)))
