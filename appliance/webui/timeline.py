"""What happened to a study, in sentences; and what people did, for the audit list.

A process records an event as a word, a count and a detail; the sentence for each word is here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from flask_babel.speaklater import LazyString

from appliance.model.priority import Priority
from appliance.store_forward.views import Event
from appliance.webui.help_words import error_words
from appliance.webui.language import number
from appliance.webui.names import clean
from appliance.webui.say import _, _l, _n
from appliance.webui.words import PRIORITIES

_COUNTED: Final = frozenset({"received", "packed", "delivered"})
_TOGETHER_MS: Final = 15 * 60_000


def gather(events: Iterable[Event]) -> list[Event]:
    """Events, newest first, with those that come once a parcel added up: one line for a quarter of an hour."""
    lines: list[Event] = []
    open_at: dict[str, int] = {}  # kind → place in `lines` of the line that older ones of it may join
    for event in events:
        place = open_at.get(event.kind)
        if place is not None and abs(lines[place].at - event.at) <= _TOGETHER_MS:
            joined = lines[place]
            lines[place] = Event(joined.at, joined.kind, joined.count + event.count, joined.detail)
            continue
        if event.kind in _COUNTED:
            open_at[event.kind] = len(lines)
        lines.append(event)
    return lines


def _received_first(_count: int, _detail: str) -> str:
    return _("The first image came, and was safe on this box.")


def _received(count: int, _detail: str) -> str:
    return _n("%(n)s image came.", "%(n)s images came.", count, n=number(count))


def _packed(count: int, _detail: str) -> str:
    return _n("%(n)s image was packed and checked.", "%(n)s images were packed and checked.", count, n=number(count))


def _packed_anew(count: int, _detail: str) -> str:
    return _n("%(n)s image is packed anew.", "%(n)s images are packed anew.", count, n=number(count))


def _delivered(count: int, _detail: str) -> str:
    return _n("The hub verified %(n)s image.", "The hub verified %(n)s images.", count, n=number(count))


def _delivered_all(count: int, _detail: str) -> str:
    return _n(
        "The whole study, %(n)s image, is at the hub.",
        "The whole study, %(n)s images, is at the hub.",
        count,
        n=number(count),
    )


def _performed(count: int, _detail: str) -> str:
    return _n(
        "The modality said that the study is complete: %(n)s image, and it is here.",
        "The modality said that the study is complete: %(n)s images, and all are here.",
        count,
        n=number(count),
    )


def _quarantined(count: int, detail: str) -> str:
    kept = _n("%(n)s image is kept back.", "%(n)s images are kept back.", count, n=number(count))
    return f"{kept} {error_words(detail)[0]}"


def _conflict(_count: int, _detail: str) -> str:
    return _("An image came again with different content; both are kept.")


def _identity_conflict(_count: int, _detail: str) -> str:
    return _("An image of another patient came under this study; it is kept.")


def _priority(_count: int, detail: str) -> str:
    word = next((str(PRIORITIES[p]) for p in Priority if p.word == detail), clean(detail))
    return _("Priority changed to %(priority)s.", priority=word)


def _send_again(count: int, detail: str) -> str:
    return _n(
        "%(who)s asked to send %(n)s image again.",
        "%(who)s asked to send %(n)s images again.",
        count,
        who=clean(detail),
        n=number(count),
    )


def _conflicts_checked(_count: int, detail: str) -> str:
    return _("%(who)s looked at what was in conflict.", who=clean(detail))


def _wish_first(_count: int, detail: str) -> str:
    if detail:
        return _("The hub asked for series %(series)s first.", series=clean(detail))
    return _("The hub asked for this study first.")


def _wish_enough(_count: int, detail: str) -> str:
    if detail:
        return _(
            "The hub has enough of series %(series)s; the rest of it stays here until it asks.", series=clean(detail)
        )
    return _("The hub has enough of this study; the rest stays here until it asks.")


def _wish_all(_count: int, detail: str) -> str:
    if detail:
        return _("The hub asked for the rest of series %(series)s.", series=clean(detail))
    return _("The hub asked for the rest of this study.")


EVENTS: Final[dict[str, Callable[[int, str], str]]] = {
    "received_first": _received_first,
    "received": _received,
    "packed": _packed,
    "packed_anew": _packed_anew,
    "delivered": _delivered,
    "delivered_all": _delivered_all,
    "performed": _performed,
    "quarantined": _quarantined,
    "conflict": _conflict,
    "identity_conflict": _identity_conflict,
    "priority": _priority,
    "send_again": _send_again,
    "conflicts_checked": _conflicts_checked,
    "wish_first": _wish_first,
    "wish_enough": _wish_enough,
    "wish_all": _wish_all,
}


def event_words(event: Event) -> str:
    """One line of a study's timeline; the bare word for an event of a later release."""
    words = EVENTS.get(event.kind)
    return words(event.count, event.detail) if words else clean(f"{event.kind} {event.count or ''} {event.detail}")


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
    "pause_link": _l("paused sending"),
    "resume_link": _l("resumed sending"),
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
