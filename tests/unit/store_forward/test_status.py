"""`appliance status`: the facts, and nothing of a patient."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from support import rows

from appliance.config import Storage, UnitConfig
from appliance.errors import DatabaseError, NotFoundError
from appliance.model.help import BEAT_SILENT_MS
from appliance.model.states import InstanceEvent
from appliance.store_forward.database import FILE_NAME, open_database
from appliance.store_forward.queue import move_instances
from appliance.store_forward.status import Status, is_alive, newest_files, read_status

NOW = 1_790_000_000_000


@pytest.fixture
def config(tmp_path: Path) -> UnitConfig:
    return UnitConfig(storage=Storage(data=str(tmp_path)))


@pytest.fixture
def connection(config: UnitConfig) -> Iterator[sqlite3.Connection]:
    opened = open_database(config.data)
    yield opened
    opened.close()


def test_a_unit_that_never_ran_says_so(config: UnitConfig) -> None:
    with pytest.raises(NotFoundError, match="has not run yet"):
        read_status(config, NOW)


def test_a_database_without_tables_yet_is_an_error_that_a_person_can_read(config: UnitConfig) -> None:
    with contextlib.closing(sqlite3.connect(config.data / FILE_NAME)) as made:
        made.execute("PRAGMA journal_mode = WAL")
    with pytest.raises(DatabaseError):
        read_status(config, NOW)


def test_an_empty_unit_has_nothing_to_send(config: UnitConfig, connection: sqlite3.Connection) -> None:
    facts = read_status(config, NOW)
    assert (facts.studies, facts.bytes_to_send, facts.oldest_undelivered_at) == (0, 0, None)
    assert facts.line is None
    assert facts.processes == ()
    assert facts.disk.free > 0


def test_instances_are_counted_by_what_became_of_them(config: UnitConfig, connection: sqlite3.Connection) -> None:
    study = rows.add_study(connection, first_received_at=500)
    series = rows.add_series(connection, study)
    ids = [rows.add_instance(connection, study, series, bytes=1000) for _ in range(5)]
    move_instances(connection, ids[1:], InstanceEvent.PACK)
    move_instances(connection, ids[2:4], InstanceEvent.RECEIPT)
    move_instances(connection, ids[4:], InstanceEvent.QUARANTINE)
    rows.add_study(connection, first_received_at=100)  # nothing in it yet
    facts = read_status(config, NOW)
    assert (facts.instances_received, facts.instances_packed) == (1, 1)
    assert (facts.instances_delivered, facts.instances_quarantined) == (2, 1)
    assert (facts.studies, facts.studies_undelivered, facts.studies_in_need) == (2, 1, 1)
    assert (facts.unpacked_bytes, facts.oldest_undelivered_at) == (1000, 500)


def test_what_the_hub_holds_of_a_parcel_is_not_to_send(config: UnitConfig, connection: sqlite3.Connection) -> None:
    study = rows.add_study(connection)
    rows.add_parcel(connection, study, bytes=1000)
    rows.add_parcel(connection, study, bytes=1000, state="open", hub_offset=600)
    rows.add_parcel(connection, study, bytes=1000, state="uploaded", hub_offset=1000)
    rows.add_parcel(connection, study, bytes=1000, state="delivered", hub_offset=1000)
    rows.add_parcel(connection, study, bytes=1000, state="refused")
    facts = read_status(config, NOW)
    assert (facts.bytes_to_send, facts.parcels_unverified) == (1400, 1)


def test_what_waits_for_a_person_is_counted(config: UnitConfig, connection: sqlite3.Connection) -> None:
    for number, decision in enumerate([None, None, "allowed", "refused"]):
        values = {"calling_ae": f"CT{number}", "address": "10.0.0.1", "called_ae": "APPLIANCE", "decision": decision}
        rows.insert(connection, "device", **values, first_seen=1, last_seen=1)
    store = {"at": 1, "last_at": 1, "calling_ae": "CT", "address": "10.0.0.1", "status": 0xC000}
    rows.insert(connection, "refused_store", **store, error_id="E301")
    rows.insert(connection, "refused_store", **store, error_id="E202", dismissed_at=5)
    facts = read_status(config, NOW)
    assert (facts.unknown_devices, facts.allowed_devices, facts.refused_stores) == (2, 1, 1)


def test_a_conflict_that_a_person_checked_needs_nobody(config: UnitConfig, connection: sqlite3.Connection) -> None:
    rows.add_study(connection, conflicts=2, identity_conflict=1, conflicts_checked=3)
    assert read_status(config, NOW).studies_in_need == 0
    rows.add_study(connection, conflicts=4, conflicts_checked=2)
    assert read_status(config, NOW).studies_in_need == 1


def test_a_process_is_alive_while_it_beats(config: UnitConfig, connection: sqlite3.Connection) -> None:
    rows.add_process(connection, "receive", beat_at=NOW - 1000, status="2 associations")
    rows.add_process(connection, "forward", beat_at=NOW - BEAT_SILENT_MS - 1)
    found = {process.name: process for process in read_status(config, NOW).processes}
    assert (found["receive"].alive, found["receive"].status) == (True, "2 associations")
    assert not found["forward"].alive


def test_a_beat_from_long_before_or_after_now_is_no_life() -> None:
    assert is_alive(NOW - BEAT_SILENT_MS, NOW)
    assert not is_alive(NOW + BEAT_SILENT_MS + 1, NOW)  # the clock was set back, and the process did not beat since


def test_the_line_is_as_forward_measured_it(config: UnitConfig, connection: sqlite3.Connection) -> None:
    rows.set_line(connection, up=0, since=NOW - 5000, problem="E501", hub_seen_at=None)
    line = read_status(config, NOW).line
    assert line is not None
    assert (line.up, line.since, line.problem, line.hub, line.hub_seen_at) == (False, NOW - 5000, "E501", "Hub", None)


def test_no_field_of_the_facts_holds_patient_data(config: UnitConfig, connection: sqlite3.Connection) -> None:
    secrets = {
        "patient_name": "DOE^JANE",
        "patient_id": "4711",
        "accession_number": "A-99",
        "study_description": "KNEE",
    }
    study = rows.add_study(connection, study_instance_uid="1.2.999.4", **secrets)
    rows.add_instance(connection, study, rows.add_series(connection, study), sop_instance_uid="1.2.999.5")
    text = msgspec.json.encode(read_status(config, NOW)).decode()
    for secret in [*secrets.values(), "1.2.999"]:
        assert secret not in text


def test_the_newest_files_are_those_that_must_be_there(connection: sqlite3.Connection) -> None:
    study = rows.add_study(connection)
    series = rows.add_series(connection, study)
    first = rows.add_instance(connection, study, series, file="00/a.dcm", bytes=7)
    rows.add_instance(connection, study, series, file="00/b.dcm", state="removed")
    assert newest_files(connection) == [(first, "00/a.dcm", 7)]


def test_the_json_has_the_fields_that_are_promised() -> None:
    """docs/reference/cli.md: fields are only ever added."""
    promised = """at version site studies studies_undelivered studies_in_need instances_received instances_packed
    instances_delivered instances_quarantined instances_conflicting unpacked_bytes bytes_to_send parcels_unverified
    oldest_undelivered_at unknown_devices allowed_devices refused_stores line processes disk""".split()
    assert set(promised) <= set(Status.__struct_fields__)
