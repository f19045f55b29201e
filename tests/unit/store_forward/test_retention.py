"""Files go when their time is over, and never without a receipt."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import rows

from appliance.config import Storage, UnitConfig
from appliance.store_forward import retention
from appliance.store_forward.database import open_database
from appliance.store_forward.retention import Retention, expired_before

DAY = 86_400_000
NOW = 1_795_000_000_000


@pytest.fixture
def unit(tmp_path: Path) -> Iterator[tuple[sqlite3.Connection, Retention, Path]]:
    connection = open_database(tmp_path)
    (tmp_path / "spool" / "00").mkdir(parents=True)
    (tmp_path / "parcels").mkdir()
    config = UnitConfig(storage=Storage(data=str(tmp_path), retention_days=30))
    yield connection, Retention(config, connection), tmp_path
    connection.close()


def instance(connection: sqlite3.Connection, data: Path, **values: Any) -> tuple[int, Path]:
    study = rows.add_study(connection)
    number = rows.add_instance(connection, study, rows.add_series(connection, study), **values)
    file = data / "spool" / connection.execute("SELECT file FROM instance WHERE id = ?", (number,)).fetchone()[0]
    file.write_bytes(b"x")
    return number, file


def state(connection: sqlite3.Connection, number: int) -> str:
    return str(connection.execute("SELECT state FROM instance WHERE id = ?", (number,)).fetchone()[0])


def test_an_instance_leaves_when_its_days_are_over(unit: tuple[sqlite3.Connection, Retention, Path]) -> None:
    connection, keeper, data = unit
    old = instance(connection, data, state="delivered", delivered_at=NOW - 31 * DAY, hub_held_at=1)
    young = instance(connection, data, state="delivered", delivered_at=NOW - 29 * DAY, hub_held_at=1)
    assert keeper.remove_instances(expired_before(NOW, 30)) == 1
    assert (state(connection, old[0]), old[1].exists()) == ("removed", False)
    assert (state(connection, young[0]), young[1].exists()) == ("delivered", True)


@pytest.mark.parametrize(
    "values",
    [
        {"state": "received"},
        {"state": "packed"},
        {"state": "quarantined"},
        {"state": "packed", "delivered_at": 1, "hub_held_at": 1},
        {"state": "delivered", "delivered_at": 1},
        {"state": "delivered", "hub_held_at": 1},
    ],
)
def test_nothing_goes_without_a_receipt_however_old(
    unit: tuple[sqlite3.Connection, Retention, Path], values: dict[str, Any]
) -> None:
    connection, keeper, data = unit
    number, file = instance(connection, data, received_at=0, **values)
    assert keeper.remove_instances(expired_before(NOW, 0)) == 0
    assert (state(connection, number), file.exists()) == (values["state"], True)


@given(now=st.integers(0, 10**14), delivered=st.integers(0, 10**14), days=st.floats(0, 3650))
def test_an_instance_stays_for_all_its_days(now: int, delivered: int, days: float) -> None:
    if delivered < expired_before(now, days):
        assert now - delivered > days * DAY - 1


def test_a_cut_before_the_commit_leaves_a_row_that_asks_again(
    unit: tuple[sqlite3.Connection, Retention, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    connection, keeper, data = unit
    number, file = instance(connection, data, state="delivered", delivered_at=1, hub_held_at=1)

    class CutError(Exception):
        pass

    def cut(*_: object) -> None:
        raise CutError

    with monkeypatch.context() as patched:
        patched.setattr(retention, "move_instances", cut)
        with pytest.raises(CutError):
            keeper.remove_instances(NOW)
    assert (state(connection, number), file.exists()) == ("delivered", False)
    assert keeper.remove_instances(NOW) == 1
    assert state(connection, number) == "removed"


def test_files_are_gone_from_the_disk_before_a_row_says_so(
    unit: tuple[sqlite3.Connection, Retention, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    connection, keeper, data = unit
    number, _ = instance(connection, data, state="delivered", delivered_at=1, hub_held_at=1)
    seen = []
    real = retention.sync_directory
    monkeypatch.setattr(
        retention, "sync_directory", lambda path: (seen.append((path.name, state(connection, number))), real(path))
    )
    keeper.remove_instances(NOW)
    assert seen == [("00", "delivered")]


def test_parcels_leave_when_the_hub_has_decided(unit: tuple[sqlite3.Connection, Retention, Path]) -> None:
    connection, keeper, data = unit
    study = rows.add_study(connection)
    for name in ("built", "open", "uploaded", "delivered", "refused"):
        rows.add_parcel(connection, study, state=name, file=f"{name}.parcel")
        (data / "parcels" / f"{name}.parcel").write_bytes(b"x")
    assert keeper.remove_parcels(NOW) == 2
    left = {path.name for path in (data / "parcels").iterdir()}
    assert left == {"built.parcel", "open.parcel", "uploaded.parcel"}
    gone = connection.execute("SELECT file FROM parcel WHERE file_gone_at = ?", (NOW,)).fetchall()
    assert {row["file"] for row in gone} == {"delivered.parcel", "refused.parcel"}
    assert keeper.remove_parcels(NOW) == 0


def test_a_file_that_is_already_gone_is_no_error(unit: tuple[sqlite3.Connection, Retention, Path]) -> None:
    connection, keeper, _ = unit
    rows.add_parcel(connection, rows.add_study(connection), state="delivered")
    assert keeper.remove_parcels(NOW) == 1


def test_headers_are_forgotten_when_their_study_is_long_whole(
    unit: tuple[sqlite3.Connection, Retention, Path],
) -> None:
    connection, keeper, _ = unit
    for whole_at in (NOW - DAY, None, NOW + DAY):
        study = rows.add_study(connection, whole_at=whole_at)
        series = rows.add_series(connection, study)
        values = {"digest": bytes(32), "header": b"x", "parcel_id": rows.add_parcel(connection, study)}
        rows.insert(connection, "dictionary", series_id=series, **values)
    assert keeper.forget_dictionaries(NOW) == 1
    assert connection.execute("SELECT count(*) FROM dictionary").fetchone()[0] == 2


def test_a_turn_removes_in_steps_until_nothing_is_left(unit: tuple[sqlite3.Connection, Retention, Path]) -> None:
    connection, keeper, data = unit
    study = rows.add_study(connection)
    series = rows.add_series(connection, study)
    for _ in range(150):
        rows.add_instance(connection, study, series, state="delivered", delivered_at=1, hub_held_at=1)
    for _ in range(4):
        keeper.turn()
    assert connection.execute("SELECT count(*) FROM instance WHERE state = 'removed'").fetchone()[0] == 150
    assert not list((data / "spool" / "00").iterdir())


def test_what_can_not_be_removed_is_told_once_in_a_while_and_not_each_second(
    unit: tuple[sqlite3.Connection, Retention, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    connection, keeper, data = unit
    _, file = instance(connection, data, state="delivered", delivered_at=1, hub_held_at=1)
    file.unlink()
    file.mkdir()  # root, too, can't unlink it
    clock = [100.0]
    monkeypatch.setattr(retention.time, "monotonic", lambda: clock[0])
    for _ in range(20):
        keeper.turn()
        clock[0] += 1.0
    assert capsys.readouterr().out.count("not_removed") == 1
    file.rmdir()
    clock[0] += 30.0
    keeper.turn()
    assert connection.execute("SELECT count(*) FROM instance WHERE state = 'removed'").fetchone()[0] == 1
