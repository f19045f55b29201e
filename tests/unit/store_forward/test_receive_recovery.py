"""What start-up finds: files without a row, rows without a file."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from support import tiny_instances
from support.receiving import queue_of, receiving, rows, spool_files, unit_config
from support.rows import add_instance, add_series, add_study
from support.tiny_scu import TinyScu

from appliance.model.states import InstanceEvent
from appliance.store_forward import recovery, spool
from appliance.store_forward.database import transaction
from appliance.store_forward.queue import move_instances
from appliance.store_forward.spool import directory_of


def stored(data: Path, count: int) -> None:
    with receiving(unit_config(data)) as receiver, TinyScu(receiver.port) as scu:
        assert [scu.store(tiny_instances.make(1, number)) for number in range(count)] == [0] * count


def test_a_file_that_was_renamed_and_never_got_a_row_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "_FILES_IN_A_ROW", 4)
    stored(tmp_path, 10)
    before = spool_files(tmp_path)
    orphan = tmp_path / "spool" / directory_of(10) / "orphan.dcm"
    orphan.write_bytes(b"renamed, not committed")
    stored(tmp_path, 0)
    assert spool_files(tmp_path) == before
    assert {file.split("/")[0] for file in before} == {"00", "01", "02"}


def test_what_was_being_received_is_removed_and_what_has_a_row_is_kept(tmp_path: Path) -> None:
    stored(tmp_path, 3)
    before = spool_files(tmp_path)
    (tmp_path / "spool" / "incoming" / "half.part").write_bytes(b"half")
    stored(tmp_path, 0)
    assert spool_files(tmp_path) == before
    assert len(before) == 3


def test_a_row_without_its_file_is_quarantined_with_a_reason_and_healed_when_sent_again(tmp_path: Path) -> None:
    stored(tmp_path, 3)
    (tmp_path / "spool" / rows(tmp_path, "SELECT file FROM instance WHERE id = 2")[0][0]).unlink()
    with receiving(unit_config(tmp_path)) as receiver:
        assert recovery.quarantine_lost(receiver.spool, receiver.journal, threading.Event()) in {0, 1}  # or at start
        assert rows(tmp_path, "SELECT id, state, reason FROM instance WHERE state <> 'received'") == [
            (2, "quarantined", "E203")
        ]
        with TinyScu(receiver.port) as scu:
            assert scu.store(tiny_instances.make(1, 1)) == 0
    assert rows(tmp_path, "SELECT DISTINCT state, reason FROM instance") == [("received", "")]
    assert len(spool_files(tmp_path)) == 3


def test_a_packed_instance_without_its_file_goes_on_from_its_parcel(tmp_path: Path) -> None:
    stored(tmp_path, 1)
    with queue_of(tmp_path) as connection, transaction(connection):
        move_instances(connection, [1], InstanceEvent.PACK)
    (tmp_path / "spool" / spool_files(tmp_path)[0]).unlink()
    stored(tmp_path, 0)
    assert rows(tmp_path, "SELECT state FROM instance") == [("packed",)]


def test_a_start_with_many_rows_looks_at_one_directory_only(tmp_path: Path) -> None:
    with queue_of(tmp_path) as connection, transaction(connection):
        study = add_study(connection)
        series = add_series(connection, study)
        last = add_instance(connection, study, series, id=1_000_000, file="xx/a.dcm", state="delivered")
        named = f"{directory_of(last)}/named.dcm"
        add_instance(connection, study, series, id=999_999, file=named, state="delivered")
    root = tmp_path / "spool"
    made = spool.Spool(root, reserve_bytes=1)
    made.prepare()
    elsewhere = root / directory_of(last + 5000) / "elsewhere.dcm"
    for path in (root / named, root / directory_of(last) / "orphan.dcm", elsewhere):
        path.write_bytes(b"x")
    with queue_of(tmp_path) as connection:
        assert recovery.remove_orphans(connection, made) == 1
    assert spool_files(tmp_path) == sorted([named, str(elsewhere.relative_to(root))])
