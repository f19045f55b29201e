"""Unknown callers: noted for the engineer, bounded, and admitted once allowed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.receiving import queue_of, receiving, rows, unit_config

from appliance.dimse import policy
from appliance.dimse.policy import Caller
from appliance.errors import NotFoundError
from appliance.model.priority import Priority
from appliance.store_forward import devices
from appliance.store_forward.database import transaction

CALLER = Caller("10.0.0.9", "NEWCT", "APPLIANCE")


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with queue_of(tmp_path) as connection:
        yield connection


def listed(queue: sqlite3.Connection) -> list[tuple[object, ...]]:
    columns = "calling_ae, address, called_ae, first_seen, last_seen, attempts"
    return [tuple(row) for row in queue.execute(f"SELECT {columns} FROM device ORDER BY id")]


def test_a_caller_is_noted_once_and_its_attempts_are_counted(queue: sqlite3.Connection) -> None:
    for at in (1000, 3000, 2000):
        devices.seen(queue, CALLER, at)
    devices.seen(queue, Caller("10.0.0.9", "NEWCT", "OTHER"), 2500)
    assert listed(queue) == [("NEWCT", "10.0.0.9", "OTHER", 1000, 3000, 4)]
    assert devices.find(queue, CALLER) is None


def test_a_decision_is_found_with_its_settings(queue: sqlite3.Connection) -> None:
    devices.seen(queue, CALLER, 1000)
    devices.decide(queue, 1, "allowed", by="eve", at=2000, name="CT room 2", settle_ms=30_000, priority=Priority.URGENT)
    found = devices.find(queue, CALLER)
    assert found == devices.DeviceSettings(True, "CT room 2", 30_000, Priority.URGENT)
    assert devices.allowed_addresses(queue) == {"10.0.0.9"}
    assert devices.find(queue, Caller("10.0.0.10", "NEWCT", "APPLIANCE")) is None
    devices.decide(queue, 1, "refused", by="eve", at=3000)
    refused = devices.find(queue, CALLER)
    assert refused is not None
    assert not refused.allowed
    assert devices.allowed_addresses(queue) == frozenset()


def test_a_decision_on_a_device_that_is_gone_says_so(queue: sqlite3.Connection) -> None:
    with pytest.raises(NotFoundError):
        devices.decide(queue, 7, "allowed", by="eve", at=1)


def test_a_scanning_peer_can_not_fill_the_table_nor_push_out_a_decision(queue: sqlite3.Connection) -> None:
    devices.seen(queue, CALLER, 1)
    devices.decide(queue, 1, "allowed", by="eve", at=2)
    with transaction(queue):
        for number in range(devices.UNDECIDED_MAX + 50):
            devices.seen(queue, Caller("10.6.6.6", f"SCAN{number}", "APPLIANCE"), 1000 + number)
    assert queue.execute("SELECT count(*) FROM device WHERE decision IS NULL").fetchone()[0] == devices.UNDECIDED_MAX
    assert queue.execute("SELECT min(last_seen) FROM device WHERE decision IS NULL").fetchone()[0] == 1050
    assert devices.find(queue, CALLER) is not None


def test_a_scanning_peer_may_cost_a_commit_a_second_and_no_more() -> None:
    allowance = devices.Allowance()
    assert [allowance.take(100.0) for _ in range(22)] == [True] * 20 + [False] * 2
    assert [allowance.take(at) for at in (100.5, 101.1, 101.2, 102.2)] == [False, True, False, True]
    assert [allowance.take(500.0) for _ in range(21)] == [True] * 20 + [False]


def test_the_receiver_holds_strangers_to_that(tmp_path: Path) -> None:
    with receiving(unit_config(tmp_path)) as receiver:
        for number in range(60):
            assert receiver.open(Caller("10.6.6.6", f"SCAN{number}", "APPLIANCE")) == policy.CALLING_AE_NOT_RECOGNIZED
    ((noted,),) = rows(tmp_path, "SELECT count(*) FROM device")
    assert 20 <= noted < 60


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(calling=st.text(max_size=16), called=st.text(max_size=16))
def test_only_what_may_be_an_ae_title_is_noted(queue: sqlite3.Connection, calling: str, called: str) -> None:
    devices.seen(queue, Caller("10.0.0.1", calling, called), 1)
    for calling_ae, _, called_ae, *_ in listed(queue):
        for title in (str(calling_ae), str(called_ae)):
            assert title.isascii()
            assert title.isprintable()
            assert "\\" not in title
