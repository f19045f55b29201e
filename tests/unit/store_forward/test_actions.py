"""What a person does to the queue, and that each deed is in the audit trail with the change."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.ward import MINUTE, Ward

from appliance.errors import NotFoundError
from appliance.model.priority import Priority
from appliance.model.states import InstanceEvent, ParcelEvent
from appliance.model.status import StudyState
from appliance.store_forward import actions, views
from appliance.store_forward.actions import Actor
from appliance.store_forward.database import transaction
from appliance.store_forward.queue import move_instances, move_parcel

NOW = 1_795_492_800_000
BY = Actor(name="Esther", role="radiographer", address="192.168.1.50")


@pytest.fixture
def ward(tmp_path: Path) -> Iterator[Ward]:
    ward = Ward(tmp_path, NOW)
    ward.beats()
    yield ward
    ward.close()


def audit(ward: Ward) -> list[tuple[str, str, str]]:
    return [(row["actor"], row["action"], row["detail"]) for row in views.read_audit(ward.db)]


def test_a_changed_priority_is_in_the_timeline_and_in_the_audit_trail(ward: Ward) -> None:
    study = ward.study("A", "1")
    assert actions.set_priority(ward.db, study, Priority.STAT, BY, NOW)
    page = views.find_study(ward.db, study, NOW)
    assert page is not None
    assert page.line.priority is Priority.STAT
    assert (page.events[0].kind, page.events[0].detail) == ("priority", "stat")
    assert audit(ward)[0] == ("Esther", "change_priority", "routine -> stat")


def test_the_same_priority_again_changes_nothing(ward: Ward) -> None:
    study = ward.study("A", "1")
    assert not actions.set_priority(ward.db, study, Priority.ROUTINE, BY, NOW)
    assert audit(ward) == []


def test_a_quarantined_instance_starts_anew_and_plain(ward: Ward) -> None:
    study = ward.study("A", "1", images=3)
    ward.quarantine(study, 1, "E403")
    ward.db.execute("UPDATE instance SET pack_failures = 2, refusals = 3 WHERE state = 'quarantined'")
    kept = ward.images_of(study, "quarantined")
    assert actions.send_again(ward.db, study, BY, NOW) == 1
    row = ward.db.execute("SELECT * FROM instance WHERE id = ?", kept).fetchone()
    assert (row["state"], row["reason"], row["pack_failures"], row["refusals"]) == ("received", "", 1, 0)
    assert audit(ward)[0] == ("Esther", "send_again", "1 instances")


def test_what_is_stuck_goes_first_and_alone(ward: Ward) -> None:
    study = ward.study("A", "1", images=3)
    ward.quarantine(study, 1, "E403")
    ward.deliver(ward.pack(study))
    assert actions.send_again(ward.db, study, BY, NOW) == 1
    assert len(ward.images_of(study, "delivered")) == 2


def test_a_delivered_study_goes_again_and_its_progress_starts_at_nothing(ward: Ward) -> None:
    study = ward.study("A", "1", images=3)
    ward.deliver(ward.pack(study), NOW - MINUTE)
    assert actions.send_again(ward.db, study, BY, NOW) == 3
    ward.pack(study)
    ward.line(up=True, since=NOW)
    page = views.find_study(ward.db, study, NOW)
    assert page is not None
    assert (page.line.status.percent, page.line.delivered_at) == (0, None)


def test_an_instance_in_a_parcel_on_its_way_is_left_alone(ward: Ward) -> None:
    study = ward.study("A", "1", images=3)
    ward.send(ward.pack(study), 0.5)
    assert actions.send_again(ward.db, study, BY, NOW) == 0
    assert len(ward.images_of(study, "packed")) == 3
    assert audit(ward) == []


def test_an_instance_packed_into_a_refused_parcel_goes_again(ward: Ward) -> None:
    study = ward.study("A", "1", images=3)
    move_parcel(ward.db, ward.pack(study), ParcelEvent.REFUSE)
    assert actions.send_again(ward.db, study, BY, NOW) == 3


def test_an_instance_whose_file_was_removed_stays_removed(ward: Ward) -> None:
    study = ward.study("A", "1", images=3)
    ward.deliver(ward.pack(study))
    gone = ward.images_of(study, "delivered")[:2]
    move_instances(ward.db, gone, InstanceEvent.EXPIRE)
    assert actions.send_again(ward.db, study, BY, NOW) == 1
    assert ward.images_of(study, "removed") == gone


def test_a_change_that_is_rolled_back_leaves_no_audit_line(ward: Ward) -> None:
    study = ward.study("A", "1")

    def interrupted() -> None:
        with transaction(ward.db):
            actions.set_priority(ward.db, study, Priority.STAT, BY, NOW)
            raise ConnectionError

    with pytest.raises(ConnectionError):
        interrupted()
    assert audit(ward) == []


def test_a_conflict_that_was_looked_at_no_longer_needs_help_and_a_new_one_does(ward: Ward) -> None:
    study = ward.study("A", "1", images=4)

    def state() -> StudyState:
        page = views.find_study(ward.db, study, NOW)
        assert page is not None
        return page.line.status.state

    images = ward.images_of(study, "received")
    ward.db.execute("UPDATE instance SET conflict = 1 WHERE id IN (?, ?)", images[:2])
    assert state() is StudyState.NEEDS_HELP
    actions.check_conflicts(ward.db, study, BY, NOW)
    assert state() is not StudyState.NEEDS_HELP
    ward.db.execute("UPDATE instance SET conflict = 1 WHERE id = ?", images[2:3])
    assert state() is StudyState.NEEDS_HELP


def test_an_unknown_device_is_decided_about_and_described(ward: Ward) -> None:
    device = ward.device("CT1", "192.168.1.20")
    actions.decide_device(ward.db, device, "allowed", BY, NOW)
    actions.describe_device(ward.db, device, "CT room 1", Priority.URGENT, BY, NOW)
    actions.decide_device(ward.db, device, "refused", BY, NOW)
    row = views.read_devices(ward.db)[0]
    assert (row["decision"], row["decided_by"], row["name"], row["priority"]) == ("refused", "Esther", "CT room 1", 1)
    assert audit(ward)[-1] == ("Esther", "decide_device", "allowed: CT1 at 192.168.1.20")


def test_a_refusal_that_was_dismissed_is_off_the_list(ward: Ward) -> None:
    refused = ward.refused("US1", "10.0.0.9", "E301", 0xC000)
    actions.dismiss_refused(ward.db, refused, BY, NOW)
    assert ward.db.execute("SELECT dismissed_at FROM refused_store").fetchone()["dismissed_at"] == NOW
    with pytest.raises(NotFoundError):
        actions.dismiss_refused(ward.db, refused, BY, NOW)


def test_what_is_not_there_is_said(ward: Ward) -> None:
    for deed in (
        lambda: actions.set_priority(ward.db, 99, Priority.STAT, BY, NOW),
        lambda: actions.send_again(ward.db, 99, BY, NOW),
        lambda: actions.check_conflicts(ward.db, 99, BY, NOW),
        lambda: actions.decide_device(ward.db, 99, "allowed", BY, NOW),
        lambda: actions.describe_device(ward.db, 99, "x", Priority.STAT, BY, NOW),
    ):
        with pytest.raises(NotFoundError):
            deed()
    assert audit(ward) == []
