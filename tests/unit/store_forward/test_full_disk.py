"""What is waited for and what is not; and that a wait is said when it begins and when it ends."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance import logs
from appliance.errors import DatabaseError, DiskFullError
from appliance.store_forward import full_disk
from appliance.store_forward.database import FILE_NAME, open_database
from appliance.store_forward.full_disk import Wait, insist, may_pass, takes_nothing


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    opened = open_database(tmp_path)
    yield opened
    opened.close()


def failure(connection: sqlite3.Connection, statement: str) -> sqlite3.Error:
    with pytest.raises(sqlite3.Error) as raised:
        connection.execute(statement)
    return raised.value


def test_a_full_disk_and_a_lock_are_waited_for(connection: sqlite3.Connection, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / FILE_NAME, timeout=0, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    assert may_pass(failure(other, "BEGIN IMMEDIATE"))
    connection.execute("ROLLBACK")
    other.close()
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    assert may_pass(failure(connection, "CREATE TABLE more (x)"))


@pytest.mark.parametrize("statement", ["SELECT * FROM nothing", "INSERT INTO study (id) VALUES (1)", "not SQL"])
def test_mistakes_of_ours_are_not(connection: sqlite3.Connection, statement: str) -> None:
    assert not may_pass(failure(connection, statement))


def test_damage_is_not(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"no database at all" * 400)
    with pytest.raises(DatabaseError):
        insist(lambda: open_database(tmp_path), threading.Event())
    assert not takes_nothing(tmp_path)


def test_a_unit_that_never_ran_is_not_given_a_database_by_a_look(tmp_path: Path) -> None:
    assert not takes_nothing(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_wait_is_said_when_it_begins_and_when_it_ends(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("forward")
    wait = Wait("the queue")
    wait.end()
    for _ in range(3):
        wait.begin(DiskFullError())
    for _ in range(2):
        wait.end()
    said = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["event"] for line in said] == ["the queue can't be written", "the queue can be written again"]
    assert said[0]["error_id"] == "E202"


def test_opening_is_tried_until_it_works_or_until_told_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(full_disk, "PAUSE_SECONDS", 0.0)
    stop = threading.Event()
    tries = 0

    def opens_the_third_time() -> str:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise DatabaseError from _full()
        return "open"

    def stops() -> str:
        stop.set()
        raise DatabaseError from _full()

    assert insist(opens_the_third_time, stop) == "open"
    assert insist(stops, stop) is None


def _full() -> sqlite3.Error:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("PRAGMA max_page_count = 1")
    error = failure(connection, "CREATE TABLE more (x)")
    connection.close()
    return error
