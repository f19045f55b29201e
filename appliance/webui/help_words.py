"""What needs a person, in words: what happened, what to do, and the buttons that do it.

Every error id that an instance or a refusal may carry has its two sentences in `ERRORS`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
from flask import url_for
from flask_babel.speaklater import LazyString

from appliance.model.help import COURIER_MS, HelpItem, HelpKind
from appliance.model.tunnel import Problem
from appliance.webui.language import duration, moment, number
from appliance.webui.names import clean, person_name
from appliance.webui.say import _, _l, _n
from appliance.webui.tunnel_words import PROBLEMS as TUNNEL_PROBLEMS


class Button(msgspec.Struct, frozen=True):
    """A POST to `url`."""

    label: str
    url: str
    main: bool = False


class HelpLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the list. `about` is the patient or device it concerns, `link` where more of it is."""

    kind: HelpKind
    title: str
    todo: str
    about: str = ""
    link: str = ""
    when: str = ""
    buttons: tuple[Button, ...] = ()


PROCESS_WORDS: Final[dict[str, LazyString]] = {
    "receive": _l("receiving from the modalities"),
    "compress": _l("packing"),
    "forward": _l("sending to the hub"),
    "web": _l("this page"),
    "tunnel": _l("looking after the tunnel"),
}

# Error id: what it means for these images, and what to do.
ERRORS: Final[dict[str, tuple[LazyString, LazyString]]] = {
    "E201": (
        _l("This box could not write to its database."),
        _l("Check the disk, then send the images again from the modality."),
    ),
    "E202": (
        _l("The disk of this box was too full."),
        _l("Send the images again from the modality when there is room; the engineer can make room."),
    ),
    "E203": (
        _l("The copy on this box is damaged."),
        _l("Send the study again from the modality, and have the disk of this box checked."),
    ),
    "E204": (
        _l("The disk of this box can't be read or written."),
        _l("Call the engineer now: a dying disk must be replaced. Send the images again from the modality."),
    ),
    "E301": (
        _l("Not readable as DICOM."),
        _l("Export them again from the modality as DICOM and send those. If it happens again, call its service."),
    ),
    "E302": (
        _l("The device does not keep the rules of the DICOM network protocol."),
        _l("Check that it is a DICOM device and set to this box's address and port; its service can see its log."),
    ),
    "E303": (
        _l("Not what the modality announced."),
        _l("Send them again. If it happens again, the modality's service must mend its DICOM output."),
    ),
    "E304": (
        _l("Larger than this box accepts."),
        _l("An engineer can raise the limit dicom.max_object_bytes if such objects are expected."),
    ),
    "E401": (
        _l("The hub could not use what was packed, three times over."),
        _l("Press “Send again”: they are packed anew. If it comes back, call the engineer."),
    ),
    "E402": (
        _l("The hub could not use what was packed, three times over."),
        _l("Press “Send again”: they are packed anew. If it comes back, call the engineer."),
    ),
    "E403": (
        _l("Packing failed."),
        _l("Press “Send again”. If it comes back, send the study again from the modality and call the engineer."),
    ),
}
_OTHER: Final = (
    _l("Something is wrong."),
    _l("Send them again from the modality. If it happens again, tell the engineer the number of this problem."),
)


def error_words(code: str) -> tuple[str, str]:
    """What happened and what to do, for an error id; a sentence for any other word, with the word in it."""
    what, todo = ERRORS.get(code, _OTHER)
    return (_("%(what)s (%(code)s)", what=what, code=clean(code)) if code else str(what)), str(todo)


def help_lines(items: list[HelpItem], now: int, *, engineer: bool) -> list[HelpLine]:
    """The list in words. Buttons that only an engineer may press are there only for one."""
    return [_WORDS[item.kind](item, now, engineer) for item in items]


def _disk_full(item: HelpItem, _now: int, _engineer: bool) -> HelpLine:
    return HelpLine(
        kind=item.kind,
        title=_("The disk is full: modalities are told that nothing more can be taken"),
        todo=_(
            "Nothing that was taken is lost. Bring the line up so that old studies can leave, or call the engineer."
        ),
    )


def _disk_low(item: HelpItem, _now: int, _engineer: bool) -> HelpLine:
    return HelpLine(
        kind=item.kind,
        title=_("The disk is nearly full"),
        todo=_("Studies leave by themselves some days after they are at the hub. If the line is down, have it mended."),
    )


def _process_silent(item: HelpItem, now: int, _engineer: bool) -> HelpLine:
    what = PROCESS_WORDS.get(item.name, clean(item.name))
    return HelpLine(
        kind=item.kind,
        title=_("A part of this box has stopped: %(what)s", what=what),
        todo=_("It starts again by itself. If this stays for five minutes, restart the box or call the engineer."),
        when=moment(item.at, now) if item.at else "",
    )


def _file_unreadable(item: HelpItem, _now: int, _engineer: bool) -> HelpLine:
    return HelpLine(
        kind=item.kind,
        title=_("This box can't read a file that is to be sent"),
        todo=_("It is tried again by itself (%(code)s). Call the engineer: it may be the disk.", code=item.code),
    )


def _hub_refuses(item: HelpItem, _now: int, _engineer: bool) -> HelpLine:
    return HelpLine(
        kind=item.kind,
        title=_("The hub does not accept this box"),
        todo=_(
            "Call the hub: this site needs a new secret (%(code)s). Studies are safe here until then.", code=item.code
        ),
    )


def _hub_busy(item: HelpItem, _now: int, _engineer: bool) -> HelpLine:
    return HelpLine(
        kind=item.kind,
        title=_("The hub has no room for more"),
        todo=_("Call the hub: its disk or quota is full (%(code)s). Studies are safe here until then.", code=item.code),
    )


def _hub_fault(item: HelpItem, _now: int, _engineer: bool) -> HelpLine:
    return HelpLine(
        kind=item.kind,
        title=_("The hub gives wrong answers"),
        todo=_("Call the hub's engineer (%(code)s). Studies are safe here until then.", code=item.code),
    )


def _quarantined(item: HelpItem, now: int, _engineer: bool) -> HelpLine:
    what, todo = error_words(item.code)
    count = _n("%(count)s image is kept back", "%(count)s images are kept back", item.count, count=number(item.count))
    return HelpLine(
        kind=item.kind,
        title=f"{count}. {what}",
        todo=todo,
        buttons=(Button(_("Send again"), url_for("studies.send_again", study_id=item.row), main=True),),
        **_study(item, now),
    )


def _identity_conflict(item: HelpItem, now: int, _engineer: bool) -> HelpLine:
    return HelpLine(
        kind=item.kind,
        title=_("Images of two patients came under one study"),
        todo=_(
            "Compare the name on the modality with the request. All images are kept and sent; tell the radiologist."
        ),
        buttons=(Button(_("I have checked this"), url_for("studies.checked", study_id=item.row)),),
        **_study(item, now),
    )


def _conflict(item: HelpItem, now: int, _engineer: bool) -> HelpLine:
    return HelpLine(
        kind=item.kind,
        title=_("An image came twice with different content"),
        todo=_("Both were kept and sent. Look at the modality which one is right, and tell the radiologist."),
        buttons=(Button(_("I have checked this"), url_for("studies.checked", study_id=item.row)),),
        **_study(item, now),
    )


def _study(item: HelpItem, now: int) -> dict[str, str]:
    return {
        "about": person_name(item.name) or _("No name"),
        "link": url_for("studies.show", study_id=item.row),
        "when": moment(item.at, now),
    }


def _unknown_device(item: HelpItem, now: int, engineer: bool) -> HelpLine:
    buttons = (
        Button(_("Allow"), url_for("engineer.decide", device_id=item.row, decision="allowed"), main=True),
        Button(_("Refuse"), url_for("engineer.decide", device_id=item.row, decision="refused")),
    )
    return HelpLine(
        kind=item.kind,
        title=_(
            "Unknown device %(name)s at %(address)s wants to send", name=clean(item.name), address=clean(item.address)
        ),
        todo=_("Allow it?") if engineer else _("If you know this device, ask the engineer to allow it."),
        when=moment(item.at, now),
        buttons=buttons if engineer else (),
    )


def _refused_store(item: HelpItem, now: int, _engineer: bool) -> HelpLine:
    what, todo = error_words(item.code)
    title = _n(
        "%(name)s (%(address)s) sent something that was refused. %(what)s",
        "%(name)s (%(address)s) sent something that was refused, %(count)s times. %(what)s",
        item.count,
        count=number(item.count),
        name=clean(item.name),
        address=clean(item.address),
        what=what,
    )
    return HelpLine(
        kind=item.kind,
        title=title,
        todo=todo,
        when=moment(item.at, now),
        buttons=(Button(_("Done, take it off the list"), url_for("studies.dismiss", refused_id=item.row)),),
    )


def _clock_implausible(item: HelpItem, _now: int, _engineer: bool) -> HelpLine:
    return HelpLine(
        kind=item.kind,
        title=_("The clock of this box is wrong"),
        todo=_("Call the engineer. Studies are taken as always, but times on this page are wrong until it is set."),
    )


def _clock_differs(item: HelpItem, _now: int, _engineer: bool) -> HelpLine:
    return HelpLine(
        kind=item.kind,
        title=_("The clock of this box and the hub's are %(time)s apart", time=duration(item.count)),
        todo=_("Call the engineer; times on this page may be wrong."),
    )


def _tunnel(item: HelpItem, now: int, _engineer: bool) -> HelpLine:
    what, todo = TUNNEL_PROBLEMS[Problem(item.code)]
    return HelpLine(
        kind=item.kind,
        title=_("The tunnel to the hub does not work: %(problem)s", problem=what),
        todo=str(todo),
        when=moment(item.at, now) if item.at else "",
    )


def _clock_not_set(item: HelpItem, _now: int, _engineer: bool) -> HelpLine:
    return HelpLine(
        kind=item.kind,
        title=_("The clock of this box was not set since it started"),
        todo=_(
            "It sets itself when the line is up. If it stays so, call the engineer; times on this page may be wrong."
        ),
    )


def _check_modem() -> str:
    return _("Check that modem and router have power and credit. Then call the engineer.")


def _by_stick() -> str:
    carry = _(
        "You can carry the studies to the hub on a USB stick: the engineer writes it with “appliance courier export”."
        " Only the hub can read it."
    )
    return f"{_check_modem()} {carry}"


def _line_long_down(item: HelpItem, now: int, _engineer: bool) -> HelpLine:
    return HelpLine(
        kind=item.kind,
        title=_("The line has been down for %(time)s", time=duration((now - item.at) / 1000)),
        todo=_by_stick() if now - item.at > COURIER_MS else _check_modem(),
        when=moment(item.at, now),
    )


_WORDS: Final[dict[HelpKind, Callable[[HelpItem, int, bool], HelpLine]]] = {
    HelpKind.DISK_FULL: _disk_full,
    HelpKind.DISK_LOW: _disk_low,
    HelpKind.PROCESS_SILENT: _process_silent,
    HelpKind.FILE_UNREADABLE: _file_unreadable,
    HelpKind.HUB_REFUSES: _hub_refuses,
    HelpKind.HUB_BUSY: _hub_busy,
    HelpKind.HUB_FAULT: _hub_fault,
    HelpKind.QUARANTINED: _quarantined,
    HelpKind.IDENTITY_CONFLICT: _identity_conflict,
    HelpKind.CONFLICT: _conflict,
    HelpKind.UNKNOWN_DEVICE: _unknown_device,
    HelpKind.REFUSED_STORE: _refused_store,
    HelpKind.CLOCK_IMPLAUSIBLE: _clock_implausible,
    HelpKind.CLOCK_DIFFERS: _clock_differs,
    HelpKind.TUNNEL: _tunnel,
    HelpKind.CLOCK_NOT_SET: _clock_not_set,
    HelpKind.LINE_LONG_DOWN: _line_long_down,
}
