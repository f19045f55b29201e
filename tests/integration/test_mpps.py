"""Performed procedure steps: what a modality says that it made is what a study is whole by."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from pynetdicom.association import Association
from support import tiny_instances
from support.modality import Ears, associated, create_step, set_step, step
from support.processes import wait_for
from support.receiving import queue_of, receiving, rows, unit_config
from support.tiny_instances import TinyInstance
from support.tiny_scu import TinyScu

from appliance.clock import now_ms
from appliance.store_forward import views
from appliance.store_forward.database import open_database
from appliance.store_forward.receive import Receiver

INSTANCES = [tiny_instances.make(1, number) for number in range(4)]
STUDY = "2.25.1.1"
STEP = "2.25.99.1"
QUIET_SECONDS = 3600.0


@contextmanager
def unit(where: Path) -> Iterator[tuple[Receiver, Association]]:
    """A receiver with an hour of quiet time, and an association to it."""
    config = unit_config(where, settle_seconds=QUIET_SECONDS)
    with receiving(config) as receiver, associated(receiver.port, Ears()) as association:
        yield receiver, association


def store(receiver: Receiver, *instances: TinyInstance) -> None:
    with TinyScu(receiver.port) as scu:
        assert all(scu.store(instance) == 0 for instance in instances)


def is_settled(where: Path) -> bool:
    """As the page says it."""
    with closing(open_database(where, read_only=True)) as connection:
        ((line,), _) = views.list_studies(connection, views.Filter(), now_ms() + 2)
        return line.status.settled


def named(where: Path) -> tuple[int, int] | None:
    with closing(open_database(where, read_only=True)) as connection:
        page = views.find_study(connection, 1, now_ms())
        assert page
        return page.named


def test_a_completed_step_settles_the_study_at_once_when_its_images_are_here(tmp_path: Path) -> None:
    with unit(tmp_path) as (receiver, association):
        assert create_step(association, step("IN PROGRESS", study=STUDY), STEP) == (0, STEP)
        store(receiver, *INSTANCES)
        assert not is_settled(tmp_path)
        assert set_step(association, step("COMPLETED", images=INSTANCES), STEP).Status == 0
        assert is_settled(tmp_path)
        assert rows(tmp_path, "SELECT count FROM event WHERE kind = 'performed'") == [(4,)]


def test_a_study_waits_for_the_last_image_that_the_step_names_and_says_how_many_came(tmp_path: Path) -> None:
    with unit(tmp_path) as (receiver, association):
        store(receiver, *INSTANCES[:1])
        assert named(tmp_path) is None
        create_step(association, step("IN PROGRESS", study=STUDY), STEP)
        set_step(association, step("COMPLETED", images=INSTANCES), STEP)
        store(receiver, *INSTANCES[1:3])
        assert (is_settled(tmp_path), named(tmp_path)) == (False, (3, 4))
        store(receiver, INSTANCES[3])
        assert (is_settled(tmp_path), named(tmp_path)) == (True, (4, 4))


def test_steps_that_came_before_the_first_image_count(tmp_path: Path) -> None:
    with unit(tmp_path) as (receiver, association):
        create_step(association, step("IN PROGRESS", study=STUDY), STEP)
        set_step(association, step("COMPLETED", images=INSTANCES), STEP)
        store(receiver, *INSTANCES)
        assert is_settled(tmp_path)


def test_one_more_image_that_nobody_named_starts_the_quiet_time_again(tmp_path: Path) -> None:
    with unit(tmp_path) as (receiver, association):
        create_step(association, step("IN PROGRESS", study=STUDY), STEP)
        store(receiver, *INSTANCES)
        set_step(association, step("COMPLETED", images=INSTANCES), STEP)
        store(receiver, tiny_instances.make(1, 77))
        assert not is_settled(tmp_path)
        assert rows(tmp_path, "SELECT settle_ms, usual_settle_ms FROM study") == [(QUIET_SECONDS * 1000, None)]


def test_a_second_step_that_goes_on_keeps_the_study_open(tmp_path: Path) -> None:
    with unit(tmp_path) as (receiver, association):
        for uid in (STEP, "2.25.99.2"):
            create_step(association, step("IN PROGRESS", study=STUDY), uid)
        store(receiver, *INSTANCES)
        set_step(association, step("COMPLETED", images=INSTANCES[:2]), STEP)
        assert not is_settled(tmp_path)
        set_step(association, step("DISCONTINUED", images=INSTANCES[2:]), "2.25.99.2")
        assert is_settled(tmp_path)


def test_a_discontinued_step_alone_settles_nothing(tmp_path: Path) -> None:
    with unit(tmp_path) as (receiver, association):
        create_step(association, step("IN PROGRESS", study=STUDY), STEP)
        store(receiver, *INSTANCES)
        assert set_step(association, step("DISCONTINUED", images=INSTANCES), STEP).Status == 0
        assert not is_settled(tmp_path)


def test_a_series_that_is_set_anew_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    with unit(tmp_path) as (receiver, association):
        create_step(association, step("IN PROGRESS", study=STUDY), STEP)
        store(receiver, *INSTANCES[:2])
        set_step(association, step("IN PROGRESS", images=INSTANCES), STEP)
        assert named(tmp_path) == (2, 4)
        set_step(association, step("COMPLETED", images=INSTANCES[:2]), STEP)
        assert (is_settled(tmp_path), named(tmp_path)) == (True, (2, 2))


@pytest.mark.parametrize("final", ["COMPLETED", "DISCONTINUED"])
def test_an_ended_step_may_no_longer_be_updated(tmp_path: Path, final: str) -> None:
    with unit(tmp_path) as (_, association):
        create_step(association, step("IN PROGRESS", study=STUDY), STEP)
        assert set_step(association, step(final), STEP).Status == 0
        for status in ("IN PROGRESS", "COMPLETED", "DISCONTINUED"):
            answer = set_step(association, step(status), STEP)
            assert (answer.Status, answer.ErrorID) == (0x0110, 0xA710)
        assert rows(tmp_path, "SELECT state FROM performed_step") == [(final,)]


def test_what_comes_is_kept_as_it_came(tmp_path: Path) -> None:
    with unit(tmp_path) as (_, association):
        create_step(association, step("IN PROGRESS", study=STUDY), STEP)
        set_step(association, step("COMPLETED", images=INSTANCES), STEP)
        kept = rows(tmp_path, "SELECT operation, transfer_syntax_uid, data_set FROM performed_message ORDER BY id")
        assert [operation for operation, *_ in kept] == ["create", "set"]
        assert INSTANCES[3].sop_instance_uid.encode() in kept[1][2]


def test_a_step_without_a_uid_is_given_one(tmp_path: Path) -> None:
    with unit(tmp_path) as (_, association):
        assert create_step(association, step("IN PROGRESS", study=STUDY))[0] == 0
        ((uid,),) = rows(tmp_path, "SELECT sop_instance_uid FROM performed_step")
        assert uid.startswith("2.25.")
        assert set_step(association, step("COMPLETED"), uid).Status == 0


def without(keyword: str) -> Dataset:
    made = step("IN PROGRESS", study=STUDY)
    delattr(made, keyword)
    return made


def changed(keyword: str, value: Any) -> Dataset:
    made = step("IN PROGRESS", study=STUDY)
    setattr(made, keyword, value)
    return made


@pytest.mark.parametrize(
    ("made", "status"),
    [
        (step("COMPLETED", study=STUDY), 0x0106),
        (step("UNDER WAY", study=STUDY), 0x0106),
        (step("", study=STUDY), 0x0121),
        (without("PerformedProcedureStepStatus"), 0x0120),
        (without("ScheduledStepAttributesSequence"), 0x0120),
        (changed("ScheduledStepAttributesSequence", []), 0x0121),
        (changed("ScheduledStepAttributesSequence", [Dataset()]), 0x0120),
    ],
)
def test_a_malformed_step_gets_the_standards_status_and_is_not_made(tmp_path: Path, made: Dataset, status: int) -> None:
    with unit(tmp_path) as (_, association):
        assert create_step(association, made, STEP)[0] == status
        assert not rows(tmp_path, "SELECT 1 FROM performed_step")
        assert create_step(association, step("IN PROGRESS", study=STUDY), STEP)[0] == 0  # the association goes on


def test_a_step_that_is_there_is_not_made_twice_and_one_that_is_not_is_not_changed(tmp_path: Path) -> None:
    with unit(tmp_path) as (_, association):
        assert set_step(association, step("COMPLETED"), STEP).Status == 0x0112
        assert create_step(association, step("IN PROGRESS", study=STUDY), STEP)[0] == 0
        assert create_step(association, step("IN PROGRESS", study=STUDY), STEP)[0] == 0x0111
        assert set_step(association, step("UNDER WAY"), STEP).Status == 0x0106
        assert rows(tmp_path, "SELECT state FROM performed_step") == [("IN PROGRESS",)]


def test_a_step_survives_a_restart(tmp_path: Path) -> None:
    with unit(tmp_path) as (receiver, association):
        create_step(association, step("IN PROGRESS", study=STUDY), STEP)
        store(receiver, *INSTANCES)
    with unit(tmp_path) as (_, association):
        assert set_step(association, step("COMPLETED", images=INSTANCES), STEP).Status == 0
        assert is_settled(tmp_path)


def test_steps_that_nothing_was_said_of_for_months_are_forgotten(tmp_path: Path) -> None:
    with unit(tmp_path) as (_, association):
        create_step(association, step("IN PROGRESS", study=STUDY), STEP)
        with queue_of(tmp_path) as connection:
            connection.execute("UPDATE performed_step SET changed_at = 1")
        wait_for(lambda: not rows(tmp_path, "SELECT 1 FROM performed_step"), "it is forgotten")
        assert not rows(tmp_path, "SELECT 1 FROM performed_message UNION SELECT 1 FROM performed_study")
