"""Changes of state in the queue are those of the model, all or none."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import rows

from appliance.model.states import IllegalTransitionError, InstanceEvent, ParcelEvent, ParcelState
from appliance.store_forward import queue
from appliance.store_forward.database import open_database, transaction


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    opened = open_database(tmp_path)
    yield opened
    opened.close()


def _states(connection: sqlite3.Connection) -> list[str]:
    return [row["state"] for row in connection.execute("SELECT state FROM instance ORDER BY id")]


def _three_instances(connection: sqlite3.Connection) -> list[int]:
    study = rows.add_study(connection)
    series = rows.add_series(connection, study)
    return [rows.add_instance(connection, study, series) for _ in range(3)]


def test_instances_move_together(connection: sqlite3.Connection) -> None:
    ids = _three_instances(connection)
    queue.move_instances(connection, ids[:2], InstanceEvent.PACK)
    assert _states(connection) == ["packed", "packed", "received"]


def test_if_one_can_not_move_none_does(connection: sqlite3.Connection) -> None:
    ids = _three_instances(connection)
    queue.move_instances(connection, ids[:1], InstanceEvent.PACK)
    with pytest.raises(IllegalTransitionError), transaction(connection):
        queue.move_instances(connection, ids, InstanceEvent.PACK)
    assert _states(connection) == ["packed", "received", "received"]


def test_an_instance_that_is_not_there_can_not_move(connection: sqlite3.Connection) -> None:
    with pytest.raises(IllegalTransitionError):
        queue.move_instances(connection, [77], InstanceEvent.PACK)


def test_moving_none_moves_none(connection: sqlite3.Connection) -> None:
    _three_instances(connection)
    queue.move_instances(connection, [], InstanceEvent.PACK)
    assert _states(connection) == ["received"] * 3


def test_the_same_id_twice_counts_once(connection: sqlite3.Connection) -> None:
    ids = _three_instances(connection)
    queue.move_instances(connection, [ids[0], ids[0]], InstanceEvent.PACK)
    assert _states(connection) == ["packed", "received", "received"]


def test_a_parcel_goes_its_way(connection: sqlite3.Connection) -> None:
    parcel = rows.add_parcel(connection, rows.add_study(connection))
    assert queue.move_parcel(connection, parcel, ParcelEvent.OPEN) is ParcelState.OPEN
    assert queue.move_parcel(connection, parcel, ParcelEvent.COMPLETE) is ParcelState.UPLOADED
    assert queue.move_parcel(connection, parcel, ParcelEvent.VERIFIED) is ParcelState.DELIVERED
    with pytest.raises(IllegalTransitionError):
        queue.move_parcel(connection, parcel, ParcelEvent.OPEN)
    assert connection.execute("SELECT state FROM parcel").fetchone()["state"] == "delivered"


def test_a_beat_of_the_same_process_keeps_its_start(connection: sqlite3.Connection) -> None:
    queue.beat(connection, "receive", 1000, "starting")
    queue.beat(connection, "receive", 3000, "2 associations")
    row = connection.execute("SELECT * FROM process").fetchone()
    assert (row["pid"], row["started_at"], row["beat_at"]) == (os.getpid(), 1000, 3000)
    assert row["status"] == "2 associations"


def test_a_beat_says_what_its_process_waits_for_until_the_next_one(connection: sqlite3.Connection) -> None:
    for problem in ("E206", ""):
        queue.beat(connection, "compress", 1000, "idle", problem)
        assert connection.execute("SELECT problem FROM process").fetchone()["problem"] == problem


def test_a_beat_of_a_new_process_is_a_new_start(connection: sqlite3.Connection) -> None:
    rows.add_process(connection, "receive", pid=os.getpid() + 1, started_at=1000, beat_at=2000)
    queue.beat(connection, "receive", 9000, "starting")
    assert connection.execute("SELECT started_at FROM process").fetchone()["started_at"] == 9000


def test_events_of_a_study_stay_in_order(connection: sqlite3.Connection) -> None:
    study = rows.add_study(connection)
    queue.record_event(connection, study, 2000, "received", count=3)
    queue.record_event(connection, study, 1000, "delivered")  # the clock jumped back
    kinds = [row["kind"] for row in connection.execute("SELECT kind FROM event ORDER BY id")]
    assert kinds == ["received", "delivered"]
