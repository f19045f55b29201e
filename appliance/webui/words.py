"""Facts in words: every sentence that the page says about a study, the line, or the box.

Each table here has one entry for each value of the enum or word it is keyed by; tests hold them to that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
from flask_babel.speaklater import LazyString

from appliance.link.eta import Eta, Point, estimate
from appliance.model.priority import Priority
from appliance.model.status import BoxCounts, BoxSentence, LineFacts, StudyState, StudyStatus
from appliance.store_forward.views import StudyLine
from appliance.webui.language import clock_time, dicom_day, duration, moment, number, percent, size
from appliance.webui.names import clean
from appliance.webui.say import _, _l, _n

STATES: Final[dict[StudyState, LazyString]] = {
    StudyState.HERE: _l("Here"),
    StudyState.WAITING: _l("Waiting for the line"),
    StudyState.ON_ITS_WAY: _l("On its way"),
    StudyState.AT_HUB: _l("At the hub (verified)"),
    StudyState.NEEDS_HELP: _l("Needs help"),
}

PRIORITIES: Final[dict[Priority, LazyString]] = {
    Priority.STAT: _l("Stat"),
    Priority.URGENT: _l("Urgent"),
    Priority.ROUTINE: _l("Routine"),
    Priority.PRIOR: _l("Prior"),
}

PRIORITY_MEANINGS: Final[dict[Priority, LazyString]] = {
    Priority.STAT: _l("Life in danger: overtakes everything, in the middle of a transfer"),
    Priority.URGENT: _l("Goes before routine studies"),
    Priority.ROUTINE: _l("In the order in which studies came"),
    Priority.PRIOR: _l("Older study for comparison: goes last"),
}


def state_word(status: StudyStatus) -> str:
    """`On its way 43 %`."""
    word = str(STATES[status.state])
    if status.state is StudyState.ON_ITS_WAY and status.percent is not None:
        return _("%(state)s %(percent)s", state=word, percent=percent(status.percent))
    return word


def state_detail(line: StudyLine, link: LineFacts, now: int) -> str:
    """One line more under the state: how far, until when, or what it waits for."""
    status = line.status
    if status.state is StudyState.AT_HUB:
        at = line.delivered_at
        return _("since %(time)s", time=moment(at, now)) if at else images(status.images)
    return _DETAILS[status.state](status, link, now)


def _detail_here(status: StudyStatus, _link: LineFacts, _now: int) -> str:
    return _("Safe on this box; being packed") if status.settled else _("Safe on this box; images are still coming")


def _detail_waiting(status: StudyStatus, link: LineFacts, now: int) -> str:
    parts = []
    if status.kept_here:
        parts.append(_("Safe on this box; the hub has enough of it for now"))
    elif status.held:
        parts.append(_("Safe on this box; waits until it may go"))
    elif not link.carries:
        parts.append(_("Safe on this box; goes by itself"))
    elif status.studies_ahead:
        parts.append(_n("%(num)s study goes first", "%(num)s studies go first", status.studies_ahead))
    if status.percent:
        parts.append(_("%(percent)s is there already", percent=percent(status.percent)))
    if when := eta_words(status, link, now):
        parts.append(when)
    return " · ".join(parts)


def _detail_on_its_way(status: StudyStatus, link: LineFacts, now: int) -> str:
    if not status.settled:
        return _("%(images)s so far; more may come", images=images_at_hub(status))
    return " · ".join(part for part in (images_at_hub(status), eta_words(status, link, now)) if part)


def _detail_needs_help(status: StudyStatus, _link: LineFacts, _now: int) -> str:
    return images_at_hub(status)


_DETAILS: Final[dict[StudyState, Callable[[StudyStatus, LineFacts, int], str]]] = {
    StudyState.HERE: _detail_here,
    StudyState.WAITING: _detail_waiting,
    StudyState.ON_ITS_WAY: _detail_on_its_way,
    StudyState.NEEDS_HELP: _detail_needs_help,
}


def images(count: int) -> str:
    """`140 images`."""
    return _n("%(count)s image", "%(count)s images", count, count=number(count))


def images_at_hub(status: StudyStatus) -> str:
    """`60 of 140 images at the hub`."""
    return _n(
        "%(done)s of %(all)s image at the hub",
        "%(done)s of %(all)s images at the hub",
        status.images,
        done=number(status.images_at_hub),
        all=number(status.images),
    )


def eta_words(status: StudyStatus, link: LineFacts, now: int) -> str:
    """When it will all be there; empty while that is not known."""
    if status.bytes_to_go is None or not link.carries:
        return ""
    return _eta(_estimate(status.bytes_to_go, link), now)


def backlog_words(backlog: int | None, link: LineFacts, now: int) -> str:
    """When all that waits on this box will be there; empty while that is not known."""
    if not backlog or not link.carries:
        return ""
    return _eta(_estimate(backlog, link), now)


def _estimate(bytes_to_go: int, link: LineFacts) -> Eta | None:
    return estimate(bytes_to_go, link.rate, link.rate_spread, [Point(*point) for point in link.expected])


def _eta(eta: Eta | None, now: int) -> str:
    if eta is None:
        return ""
    if eta.latest < 90:
        return _("about a minute")
    if eta.latest < 3600:
        return _("about %(time)s", time=duration((eta.soonest + eta.latest) / 2))
    start, end = now + int(eta.soonest * 1000), now + int(eta.latest * 1000)
    return _("there between %(start)s and %(end)s", start=_rounded(start, now), end=_rounded(end, now))


def _rounded(at: int, now: int) -> str:
    ten_minutes = 600_000
    return later(round(at / ten_minutes) * ten_minutes, now)


def later(at: int, now: int) -> str:
    """A time to come: `14:10`, with the day when it is not today."""
    text = moment(at, now)
    return text if moment(now, now) != text else clock_time(at)


class Banner(msgspec.Struct, frozen=True):
    """The first sentence of the page."""

    text: str
    tone: str  # good, move, wait, bad: its colour and its icon


def banner(sentence: BoxSentence, counts: BoxCounts, link: LineFacts, backlog: int | None, now: int) -> Banner:
    """The whole box in one sentence."""
    since = moment(link.since or now, now)
    waiting = _waiting_sentence(counts.under_way)
    texts: dict[BoxSentence, Callable[[], tuple[str, str]]] = {
        BoxSentence.NOTHING_YET: lambda: (_("No study has come today yet. The line is up."), "good"),
        BoxSentence.ALL_AT_HUB: lambda: (_all_at_hub(counts.today), "good"),
        BoxSentence.SOME_NEED_HELP: lambda: (_some_need_help(counts), "wait"),
        BoxSentence.ON_THEIR_WAY: lambda: (_on_their_way(counts, link, backlog, now), "move"),
        BoxSentence.HELD: lambda: (_held(counts, link), "wait"),
        BoxSentence.LINE_DOWN: lambda: (
            _("The line has been down since %(time)s.", time=since) + " " + waiting,
            "wait",
        ),
        BoxSentence.LINE_DOWN_NOTHING_WAITS: lambda: (
            _("The line has been down since %(time)s.", time=since) + " " + waiting,
            "wait",
        ),
        BoxSentence.NEVER_CONNECTED: lambda: (
            _("This box has not reached the hub yet.") + " " + waiting,
            "wait",
        ),
        BoxSentence.HUB_REFUSES: lambda: (
            _("The hub does not accept this box.") + " " + waiting,
            "bad",
        ),
        BoxSentence.HUB_BUSY: lambda: (
            _("The hub has no room for more now.") + " " + waiting,
            "wait",
        ),
        BoxSentence.HUB_FAULT: lambda: (
            _("The hub gives wrong answers.") + " " + waiting,
            "bad",
        ),
        BoxSentence.SENDER_STOPPED: lambda: (
            _("Sending has stopped on this box.") + " " + waiting,
            "bad",
        ),
    }
    return Banner(*texts[sentence]())


def _held(counts: BoxCounts, link: LineFacts) -> str:
    some_go = Priority.STAT not in link.held
    first = _("Only the most urgent studies go now.") if some_go else _("No study goes now.")
    return first + " " + _waiting_sentence(counts.under_way)


def _waiting_sentence(count: int) -> str:
    if count == 0:
        return _("No study is waiting.")
    return _n(
        "%(count)s study is safe on this box and will go by itself.",
        "%(count)s studies are safe on this box and will go by themselves.",
        count,
        count=number(count),
    )


def _all_at_hub(today: int) -> str:
    if today == 1:
        return _("The study of today is at the hub.")
    return _n(
        "All %(count)s studies of today are at the hub.",
        "All %(count)s studies of today are at the hub.",
        today,
        count=number(today),
    )


def _some_need_help(counts: BoxCounts) -> str:
    return _n(
        "%(done)s of %(all)s study of today is at the hub; the rest needs help.",
        "%(done)s of %(all)s studies of today are at the hub; the rest needs help.",
        counts.today,
        done=number(counts.today_at_hub),
        all=number(counts.today),
    )


def _on_their_way(counts: BoxCounts, link: LineFacts, backlog: int | None, now: int) -> str:
    text = _n(
        "The line is up. %(count)s study is on its way.",
        "The line is up. %(count)s studies are on their way.",
        counts.under_way,
        count=number(counts.under_way),
    )
    when = backlog_words(backlog, link, now)
    return text + " " + _("All of it: %(eta)s.", eta=when) if when else text


def exam(line: StudyLine, separator: str = " ") -> str:
    """`CT Head`: modalities and body parts."""
    parts = [clean(part).title() for part in line.body_parts]
    return separator.join([*(clean(m) for m in line.modalities), *parts[:3]])


def taken(line: StudyLine, now: int) -> str:
    """When the images were taken, by the modality's clock; when they came, if it did not say."""
    return dicom_day(line.study_date, line.study_time, now) or moment(line.first_received_at, now)


def wire(line: StudyLine) -> str:
    """`12.4 MB on the line, 48 MB before packing`; the plain size while nothing is packed."""
    if not line.wire_bytes:
        return _("%(size)s, not packed yet", size=size(line.bytes))
    return _(
        "%(wire)s on the line, %(before)s before packing", wire=size(line.wire_bytes), before=size(line.wire_data_bytes)
    )
