"""How the unit's database is opened and migrated, and that the triggers' counters are right whatever happens."""

from __future__ import annotations

import multiprocessing
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import rows

from appliance.errors import DatabaseError
from appliance.model.states import INSTANCE_TRANSITIONS, InstanceEvent, InstanceState
from appliance.store_forward import database, queue


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    opened = database.open_database(tmp_path)
    yield opened
    opened.close()


def _schema(connection: sqlite3.Connection) -> list[tuple[str, ...]]:
    return [tuple(row) for row in connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY type, name")]


def test_migrations_are_numbered_from_one_and_no_number_is_used_twice() -> None:
    numbers = [number for number, _ in database.migrations()]
    assert numbers[0] == 1
    assert len(set(numbers)) == len(numbers)


def test_step_by_step_and_at_once_give_the_same_database(tmp_path: Path, connection: sqlite3.Connection) -> None:
    stepped = sqlite3.connect(tmp_path / "stepped.db", isolation_level=None)
    stepped.row_factory = sqlite3.Row
    for number, _ in database.migrations():
        database.migrate(stepped, upto=number)
        assert stepped.execute("PRAGMA user_version").fetchone()[0] == number
        database.migrate(stepped, upto=number)  # again: nothing
    assert _schema(stepped) == _schema(connection)
    stepped.close()


def test_a_migration_that_fails_leaves_nothing_of_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = "CREATE TABLE half (id INTEGER) STRICT;\nCREATE TABLE half (id INTEGER) STRICT;\n"
    monkeypatch.setattr(database, "migrations", lambda: [(1, broken)])
    with pytest.raises(DatabaseError):
        database.open_database(tmp_path)
    left = sqlite3.connect(tmp_path / database.FILE_NAME)
    assert left.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
    assert left.execute("PRAGMA user_version").fetchone()[0] == 0
    left.close()


def test_a_database_of_a_later_release_is_opened_as_it_is(tmp_path: Path, connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA user_version = 999")
    connection.execute("CREATE TABLE of_the_future (id INTEGER) STRICT")
    again = database.open_database(tmp_path)
    assert again.execute("PRAGMA user_version").fetchone()[0] == 999
    again.close()


def _open_many_times(path: Path) -> None:
    for _ in range(20):
        database.open_database(path).close()


def test_processes_that_start_at_once_make_one_database(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_open_many_times, args=(tmp_path,)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0, 0]
    opened = database.open_database(tmp_path)
    assert opened.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    opened.close()


def test_a_commit_is_durable(connection: sqlite3.Connection) -> None:
    assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2  # FULL


def test_a_transaction_that_raises_leaves_nothing(connection: sqlite3.Connection) -> None:

    def add_the_same_twice() -> None:
        with database.transaction(connection):
            rows.add_study(connection, study_instance_uid="1.2")
            rows.add_study(connection, study_instance_uid="1.2")

    with pytest.raises(sqlite3.IntegrityError):
        add_the_same_twice()
    assert connection.execute("SELECT count(*) FROM study").fetchone()[0] == 0
    assert not connection.in_transaction


def test_a_reader_can_not_write(tmp_path: Path, connection: sqlite3.Connection) -> None:
    reader = database.open_database(tmp_path, read_only=True)
    with pytest.raises(sqlite3.OperationalError):
        rows.add_study(reader)
    reader.close()


def test_a_missing_database_is_not_made_by_a_reader(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError):
        database.open_database(tmp_path, read_only=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a b", "a?b", "a#b", "a%20b", "ü"])
def test_a_directory_may_have_any_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    database.open_database(tmp_path / name).close()
    assert (tmp_path / name / database.FILE_NAME).is_file()


def test_what_is_not_a_database_is_said_so(tmp_path: Path) -> None:
    (tmp_path / database.FILE_NAME).write_bytes(b"not a database, but long enough to be read as one" * 100)
    with pytest.raises(DatabaseError, match="can't be opened"):
        database.open_database(tmp_path)


@pytest.mark.parametrize("change", ["UPDATE audit_event SET actor = 'nobody'", "DELETE FROM audit_event"])
def test_the_audit_trail_refuses_every_change(connection: sqlite3.Connection, change: str) -> None:
    rows.insert(connection, "audit_event", at=1, actor="mary", role="engineer", address="", action="view")
    with pytest.raises(sqlite3.IntegrityError, match="never changed"):
        connection.execute(change)
    assert connection.execute("SELECT actor FROM audit_event").fetchone()["actor"] == "mary"


COUNTERS = """
SELECT count(*) AS instances, coalesce(sum(bytes), 0) AS bytes,
    coalesce(sum(state = 'received'), 0) AS received, coalesce(sum(state = 'packed'), 0) AS packed,
    coalesce(sum(state IN ('delivered', 'removed')), 0) AS delivered,
    coalesce(sum(state = 'quarantined'), 0) AS quarantined, coalesce(sum(conflict), 0) AS conflicts,
    coalesce(sum(iif(state = 'received', bytes, 0)), 0) AS received_bytes
FROM instance WHERE study_id = ?
"""
MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("arrive"), st.integers(0, 1), st.booleans()),
        st.tuples(st.just("conflict"), st.integers(0, 30), st.just(0)),
        st.tuples(st.sampled_from([str(event) for event in InstanceEvent]), st.integers(0, 30), st.integers(0, 3)),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moves=MOVES)
def test_the_counters_of_a_study_are_what_a_recount_gives(tmp_path: Path, moves: list[tuple[str, int, int]]) -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.row_factory = sqlite3.Row
    database.migrate(connection)
    studies = [rows.add_study(connection) for _ in range(2)]
    series = [rows.add_series(connection, study) for study in studies]
    for what, which, more in moves:
        if what == "arrive":
            rows.add_instance(connection, studies[which], series[which], conflict=int(more))
        elif what == "conflict":
            connection.execute("UPDATE instance SET conflict = 1 WHERE id = ?", (which,))
        else:
            _move_if_legal(connection, InstanceEvent(what), range(which, which + more + 1))
    for study in studies:
        counted = dict(connection.execute(COUNTERS, (study,)).fetchone())
        kept = dict(connection.execute("SELECT * FROM study WHERE id = ?", (study,)).fetchone())
        assert {name: kept[name] for name in counted} == counted
        done = counted["instances"] > 0 and counted["delivered"] == counted["instances"]
        assert (kept["delivered_at"] is not None) == done
    connection.close()


def _move_if_legal(connection: sqlite3.Connection, event: InstanceEvent, ids: range) -> None:
    found = connection.execute("SELECT id, state FROM instance WHERE id BETWEEN ? AND ?", (ids.start, ids.stop - 1))
    legal = [row["id"] for row in found if (InstanceState(row["state"]), event) in INSTANCE_TRANSITIONS]
    if event is InstanceEvent.RECEIPT:
        connection.executemany("UPDATE instance SET delivered_at = 5 WHERE id = ?", [(number,) for number in legal])
    queue.move_instances(connection, legal, event)


def test_connections_that_make_a_new_database_at_once_all_get_it(tmp_path: Path) -> None:
    def open_and_close(data: Path, start: threading.Barrier) -> None:
        start.wait(30)
        database.open_database(data).close()

    with ThreadPoolExecutor(8) as openers:
        for number in range(40):
            data = tmp_path / str(number)
            data.mkdir()
            start = threading.Barrier(8)
            for opened in [openers.submit(open_and_close, data, start) for _ in range(8)]:
                opened.result(60)
