"""The timeline of a study in sentences, and every word that the rooms record has one."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from flask import Flask

import appliance
from appliance.errors import every_error
from appliance.model.help import HelpKind
from appliance.model.priority import Priority
from appliance.model.status import BoxSentence, StudyState
from appliance.store_forward.views import Event
from appliance.webui import help_words, timeline, words

PACKAGE = Path(appliance.__file__).parent
MINUTE = 60_000


def constants(function: str, place: int) -> set[str]:
    """The constant that calls of `function` in the package have as their argument number `place`, or as `action=`."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name == function and len(node.args) > place:
                found |= {n.value for n in ast.walk(node.args[place]) if isinstance(n, ast.Constant)}
    return {word for word in found if isinstance(word, str)}


def test_every_event_that_a_process_records_has_a_sentence() -> None:
    recorded = constants("record_event", 3)
    assert {"received", "delivered", "quarantined"} <= recorded
    assert recorded <= set(timeline.EVENTS)


def test_every_deed_in_the_audit_trail_has_words() -> None:
    recorded = {word for word in constants("record", 2) if word.islower()}
    assert {"login", "change_priority"} <= recorded
    assert recorded <= set(timeline.ACTIONS)


def test_every_sentence_can_be_said(app: Flask) -> None:
    with app.test_request_context("/"):
        for kind in timeline.EVENTS:
            for count in (0, 1, 140):
                text = timeline.event_words(Event(0, kind, count, "stat"))
                assert text.endswith((".", ")"))
                assert "%" not in text


def test_an_event_of_a_later_release_is_shown_as_it_is(app: Flask) -> None:
    with app.test_request_context("/"):
        assert timeline.event_words(Event(0, "teleported", 3, "<b>\u202e")) == "teleported 3 <b>"
        assert timeline.action_words("teleported") == "teleported"


def test_events_of_many_parcels_are_one_line() -> None:
    events = [Event(at * MINUTE, kind, 10, "") for at in range(20, 10, -1) for kind in ("delivered", "packed")]
    assert timeline.gather(events) == [
        Event(20 * MINUTE, "delivered", 100, ""),
        Event(20 * MINUTE, "packed", 100, ""),
    ]


def test_events_that_lie_far_apart_stay_apart() -> None:
    events = [Event(at * MINUTE, "delivered", 1, "") for at in (100, 90, 60, 50)]
    assert [(event.at // MINUTE, event.count) for event in timeline.gather(events)] == [(100, 2), (60, 2)]


def test_what_a_person_did_is_never_added_up() -> None:
    events = [Event(MINUTE, "send_again", 1, "Esther"), Event(0, "send_again", 1, "Esther")]
    assert timeline.gather(events) == events


def test_every_value_of_an_enum_has_its_words() -> None:
    assert set(words.STATES) == set(StudyState)
    assert set(words.PRIORITIES) == set(words.PRIORITY_MEANINGS) == set(Priority)
    assert set(help_words._WORDS) == set(HelpKind)


@pytest.mark.parametrize("sentence", list(BoxSentence))
def test_every_sentence_for_the_box_can_be_said(app: Flask, sentence: BoxSentence) -> None:
    from appliance.model.status import BoxCounts, LineFacts

    with app.test_request_context("/"):
        for today in (0, 1, 12):
            line = LineFacts(up=True, since=0, rate=1000.0, hub_seen_at=0)
            banner = words.banner(sentence, BoxCounts(today=today, under_way=today), line, 10_000, 0)
            assert banner.text.endswith(".")
            assert banner.tone in {"good", "move", "wait", "bad"}


def test_every_error_that_images_may_have_has_words() -> None:
    of_images = {kind.id for kind in every_error() if kind.id[:2] in {"E2", "E3", "E4"}}
    elsewhere = {"E205", "E404", "E206", "E207"}  # of a process that can't start; of a parcel that waits; the clock
    elsewhere |= {"E208", "E209", "E210"}  # of the hub: its store, and forms that it can't make
    assert of_images - elsewhere <= set(help_words.ERRORS)


def test_an_unknown_problem_keeps_its_number(app: Flask) -> None:
    with app.test_request_context("/"):
        assert "E999" in help_words.error_words("E999")[0]
        assert help_words.error_words("")[0]


def test_the_ids_of_the_problems_of_sending_are_those_of_the_errors() -> None:
    from appliance import errors
    from appliance.model import status

    assert errors.HubRefusedError.id == status.HUB_REFUSES
    assert errors.HubBusyError.id == status.HUB_BUSY
    assert errors.HubFaultError.id == status.HUB_FAULT
    assert errors.UnreadableFileError.id == status.FILE_UNREADABLE
