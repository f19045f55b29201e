"""The journal with the real spool and database: rows, flags, and failures that must leave nothing half done."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from support import tiny_instances
from support.processes import wait_for
from support.receiving import rows, spool_files
from support.tiny_instances import TinyInstance

from appliance.config import MIB
from appliance.errors import ApplianceError, DatabaseError
from appliance.model.states import InstanceEvent
from appliance.part10.meta import FileMeta
from appliance.store_forward.arrival import Arrival, Entry, Outcome, Register
from appliance.store_forward.database import open_database, transaction
from appliance.store_forward.journal import Journal
from appliance.store_forward.queue import move_instances
from appliance.store_forward.spool import Spool


@contextlib.contextmanager
def opened(data: Path) -> Iterator[tuple[Spool, Journal]]:
    spool = Spool(data / "spool", reserve_bytes=MIB)
    spool.prepare()
    journal = Journal(data, spool, lambda connection: None)
    journal.start()
    try:
        yield spool, journal
    finally:
        journal.stop()
        spool.release()


def arrival(spool: Spool, instance: TinyInstance, **changed: object) -> Arrival:
    meta = FileMeta(instance.sop_class_uid, instance.sop_instance_uid, instance.transfer_syntax_uid)
    incoming = spool.open(meta, size_max=1 << 30)
    incoming.write(instance.data)
    made = Arrival(
        incoming.seal(), incoming.identity(), instance.transfer_syntax_uid, "CT1", "10.0.0.1", 5000, 120_000, 2
    )
    return replace(made, **changed)  # type: ignore[arg-type]


def test_a_first_instance_makes_study_series_instance_and_a_line(tmp_path: Path) -> None:
    with opened(tmp_path) as (spool, journal):
        instance = tiny_instances.make(1, 1)
        entry = journal.store(arrival(spool, instance, priority=0, settle_ms=7000))
    assert entry.outcome is Outcome.STORED
    assert rows(tmp_path, "SELECT settle_ms, priority, calling_ae, instances, received, bytes FROM study") == [
        (7000, 0, "CT1", 1, 1, len(instance.data))
    ]
    ((uid, digest, file, state, address),) = rows(
        tmp_path, "SELECT sop_instance_uid, hex(digest), file, state, calling_address FROM instance"
    )
    assert (uid, digest.lower(), state, address) == (
        instance.sop_instance_uid,
        instance.digest,
        "received",
        "10.0.0.1",
    )
    assert spool_files(tmp_path) == [file]
    assert rows(tmp_path, "SELECT kind, count, at FROM event") == [("received_first", 1, 5000)]


def test_the_settings_of_a_study_are_those_of_its_first_arrival(tmp_path: Path) -> None:
    with opened(tmp_path) as (spool, journal):
        journal.store(arrival(spool, tiny_instances.make(1, 1), priority=1, settle_ms=7000, at=9000))
        journal.store(arrival(spool, tiny_instances.make(1, 2), priority=3, settle_ms=8000, at=9500))
        journal.store(arrival(spool, tiny_instances.make(1, 3), at=100))  # the clock jumped back
    assert rows(tmp_path, "SELECT priority, settle_ms, first_received_at, last_received_at FROM study") == [
        (1, 7000, 9000, 9500)
    ]


def test_the_same_instance_again_is_one_copy_and_success(tmp_path: Path) -> None:
    with opened(tmp_path) as (spool, journal):
        instance = tiny_instances.make(1, 1)
        first = journal.store(arrival(spool, instance))
        again = journal.store(arrival(spool, instance))
    assert (first.outcome, again.outcome) == (Outcome.STORED, Outcome.DUPLICATE)
    assert rows(tmp_path, "SELECT count(*), max(conflict) FROM instance") == [(1, 0)]
    assert len(spool_files(tmp_path)) == 1


def test_the_same_instance_from_many_at_once_is_one_copy(tmp_path: Path) -> None:
    with opened(tmp_path) as (spool, journal), ThreadPoolExecutor(8) as threads:
        arrivals = [arrival(spool, tiny_instances.make(1, 1)) for _ in range(40)]
        outcomes = [entry.outcome for entry in threads.map(journal.store, arrivals)]
    assert outcomes.count(Outcome.STORED) == 1
    assert outcomes.count(Outcome.DUPLICATE) == 39
    assert len(spool_files(tmp_path)) == 1


def test_a_batch_waits_a_little_for_a_file_that_is_being_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.store_forward.journal._ANNOUNCED_SECONDS", 5.0)
    with opened(tmp_path) as (spool, journal), ThreadPoolExecutor(2) as threads:
        first, second = (arrival(spool, tiny_instances.make(1, number)) for number in (1, 2))
        commits = rows_committed(journal)
        handed_over = threading.Event()

        def slowly() -> Arrival:
            handed_over.wait(5)  # the first is in the journal's hands before this one is sealed
            return second

        entry = threads.submit(journal.seal_and_store, slowly)
        other = threads.submit(journal.seal_and_store, lambda: handed_over.set() or first)
        assert {entry.result().outcome, other.result().outcome} == {Outcome.STORED}
    assert commits == [2]


def rows_committed(journal: Journal) -> list[int]:
    """Grows by the size of each batch that is committed from now on."""
    sizes = list[int]()
    commit = journal._commit

    def counted(connection: sqlite3.Connection, register: Register, batch: list[object]) -> None:
        sizes.append(len(batch))
        commit(connection, register, batch)  # type: ignore[arg-type]

    journal._commit = counted  # type: ignore[method-assign]
    return sizes


def test_a_seal_that_fails_holds_no_batch_up(tmp_path: Path) -> None:
    def fails() -> Arrival:
        raise DatabaseError("no")

    with opened(tmp_path) as (spool, journal):
        with pytest.raises(DatabaseError):
            journal.seal_and_store(fails)
        assert journal.store(arrival(spool, tiny_instances.make(1, 1))).outcome is Outcome.STORED
        assert not journal._announced


def test_the_same_uid_with_other_bytes_is_kept_and_both_are_flagged(tmp_path: Path) -> None:
    with opened(tmp_path) as (spool, journal):
        for study, side in ((1, 8), (1, 9), (2, 10)):
            changed = tiny_instances.make(study, 1, side=side, instance_uid="2.25.77")
            journal.store(arrival(spool, changed))
    assert rows(tmp_path, "SELECT conflict FROM instance") == [(1,), (1,), (1,)]
    assert rows(tmp_path, "SELECT conflicts FROM study ORDER BY id") == [(2,), (1,)]
    assert len(spool_files(tmp_path)) == 3
    assert rows(tmp_path, "SELECT study_id FROM event WHERE kind = 'conflict' ORDER BY id") == [(1,), (1,), (2,)]


def test_another_patient_under_the_same_study_uid_is_flagged_once(tmp_path: Path) -> None:
    with opened(tmp_path) as (spool, journal):
        for number, patient in enumerate(("P1", "P1", "P2", "P3", "")):
            made = arrival(spool, tiny_instances.make(1, number))
            fields = {name: getattr(made.identity, name) for name in made.identity.__struct_fields__}
            journal.store(replace(made, identity=type(made.identity)(**(fields | {"patient_id": patient}))))
    assert rows(tmp_path, "SELECT identity_conflict, patient_id, instances FROM study") == [(1, "P1", 5)]
    assert rows(tmp_path, "SELECT count(*) FROM event WHERE kind = 'identity_conflict'") == [(1,)]


def test_a_patient_is_compared_after_a_restart_too(tmp_path: Path) -> None:
    for number, patient in enumerate(("P1", "P2")):
        with opened(tmp_path) as (spool, journal):
            made = arrival(spool, tiny_instances.make(1, number))
            fields = {name: getattr(made.identity, name) for name in made.identity.__struct_fields__}
            journal.store(replace(made, identity=type(made.identity)(**(fields | {"patient_id": patient}))))
    assert rows(tmp_path, "SELECT identity_conflict FROM study") == [(1,)]


def store_then(tmp_path: Path, *events: InstanceEvent, reason: str = "", lose: bool = False) -> tuple[Entry, str, str]:
    """Stores, moves the row by `events`, maybe loses the file, stores the same again: entry, old and new file."""
    with opened(tmp_path) as (spool, journal):
        journal.store(arrival(spool, tiny_instances.make(1, 1)))
        ((old,),) = rows(tmp_path, "SELECT file FROM instance")
        with contextlib.closing(open_database(tmp_path)) as connection, transaction(connection):
            for event in events:
                move_instances(connection, [1], event)
            connection.execute("UPDATE instance SET reason = ?", (reason,))
        if lose:
            spool.path(old).unlink()
        entry = journal.store(arrival(spool, tiny_instances.make(1, 1)))
    ((new,),) = rows(tmp_path, "SELECT file FROM instance")
    assert spool_files(tmp_path) == ([] if entry.outcome is Outcome.DUPLICATE and lose else [new])
    return entry, old, new


def test_a_copy_that_was_lost_is_replaced_when_it_is_sent_again(tmp_path: Path) -> None:
    entry, old, new = store_then(tmp_path, lose=True)
    assert entry.outcome is Outcome.REPLACED
    assert old != new


def test_a_damaged_copy_is_replaced_and_goes_again(tmp_path: Path) -> None:
    entry, old, new = store_then(tmp_path, InstanceEvent.QUARANTINE, reason="E203")
    assert entry.outcome is Outcome.REPLACED
    assert old != new
    assert rows(tmp_path, "SELECT state, reason FROM instance") == [("received", "")]


def test_an_instance_quarantined_for_another_reason_stays_so(tmp_path: Path) -> None:
    entry, old, new = store_then(tmp_path, InstanceEvent.QUARANTINE, reason="E401")
    assert (entry.outcome, old) == (Outcome.DUPLICATE, new)
    assert rows(tmp_path, "SELECT state FROM instance") == [("quarantined",)]


def test_an_instance_that_was_quarantined_and_then_lost_is_taken_again(tmp_path: Path) -> None:
    entry, old, new = store_then(tmp_path, InstanceEvent.QUARANTINE, reason="E401", lose=True)
    assert entry.outcome is Outcome.REPLACED
    assert old != new
    assert rows(tmp_path, "SELECT state, reason FROM instance") == [("received", "")]


def test_an_instance_whose_file_went_after_delivery_is_a_duplicate(tmp_path: Path) -> None:
    events = (InstanceEvent.PACK, InstanceEvent.RECEIPT, InstanceEvent.EXPIRE)
    entry, old, new = store_then(tmp_path, *events, lose=True)
    assert (entry.outcome, old) == (Outcome.DUPLICATE, new)
    assert rows(tmp_path, "SELECT state FROM instance") == [("removed",)]


@contextlib.contextmanager
def trigger(data: Path, when: str) -> Iterator[None]:
    """The database refuses new instances for which `when` holds."""
    with contextlib.closing(open_database(data)) as connection:
        body = "SELECT RAISE(ABORT, 'refused by a test');"
        connection.execute(f"CREATE TRIGGER no BEFORE INSERT ON instance WHEN {when} BEGIN {body} END")
        yield
        connection.execute("DROP TRIGGER no")


def test_a_row_that_is_refused_leaves_no_file_and_no_study(tmp_path: Path) -> None:
    with opened(tmp_path) as (spool, journal):
        with trigger(tmp_path, "1"), pytest.raises(DatabaseError):
            journal.store(arrival(spool, tiny_instances.make(1, 1)))
        assert spool_files(tmp_path) == []
        assert rows(tmp_path, "SELECT count(*) FROM study") == [(0,)]
        assert journal.store(arrival(spool, tiny_instances.make(1, 1))).outcome is Outcome.STORED


def test_one_bad_row_of_a_batch_does_not_take_the_others_down(tmp_path: Path) -> None:
    with opened(tmp_path) as (spool, journal), trigger(tmp_path, "NEW.instance_number = '3'"):
        arrivals = [arrival(spool, tiny_instances.make(1, number)) for number in range(8)]
        entered, gate = threading.Event(), threading.Event()
        outcomes: dict[int, object] = {}

        def store(number: int) -> None:
            try:
                outcomes[number] = journal.store(arrivals[number]).outcome
            except ApplianceError as error:
                outcomes[number] = error.id

        threads = [threading.Thread(target=store, args=(number,)) for number in range(8)]
        # Holds the journal until all eight wait.
        journal.note(lambda connection: (entered.set(), gate.wait(20)))
        assert entered.wait(20)
        for thread in threads:
            thread.start()
        wait_for(lambda: journal._queue.qsize() == 8, "eight arrivals wait")
        gate.set()
        for thread in threads:
            thread.join()
    assert outcomes.pop(3) == "E201"
    assert set(outcomes.values()) == {Outcome.STORED}
    assert len(spool_files(tmp_path)) == 7


def test_a_directory_that_can_not_be_entered_refuses_and_leaves_nothing(tmp_path: Path) -> None:
    with opened(tmp_path) as (spool, journal):
        made = arrival(spool, tiny_instances.make(1, 1))
        (spool.root / "00").rmdir()
        with pytest.raises(ApplianceError):
            journal.store(made)
        assert spool_files(tmp_path) == []
        assert rows(tmp_path, "SELECT count(*) FROM instance") == [(0,)]


def test_a_question_that_fails_raises_and_the_next_is_answered(tmp_path: Path) -> None:
    with opened(tmp_path) as (_, journal):
        with pytest.raises(DatabaseError):
            journal.ask(lambda connection: connection.execute("SELECT nothing"))
        assert journal.ask(lambda connection: connection.execute("SELECT 7").fetchone()[0]) == 7


def test_a_database_that_can_not_be_opened_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "appliance.db").mkdir()
    spool = Spool(tmp_path / "spool", reserve_bytes=MIB)
    spool.prepare()
    with pytest.raises(DatabaseError):
        Journal(tmp_path, spool, lambda connection: None).start()


def test_the_tick_comes_soon_and_its_failure_ends_nothing(tmp_path: Path) -> None:
    ticked = threading.Event()

    def tick(connection: sqlite3.Connection) -> None:
        ticked.set()
        connection.execute("SELECT nothing")

    spool = Spool(tmp_path / "spool", reserve_bytes=MIB)
    spool.prepare()
    journal = Journal(tmp_path, spool, tick)
    journal.start()
    assert ticked.wait(60)
    assert journal.store(arrival(spool, tiny_instances.make(1, 1))).outcome is Outcome.STORED
    journal.stop()
