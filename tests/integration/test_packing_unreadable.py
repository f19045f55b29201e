"""A received file that is there and can't be read waits with a reason: nobody is asked to send it again."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.bad_disk import a_disk_that_fails, without_the_rights_of_root
from support.hostile_jobs import pixels
from support.packing_unit import Unit
from support.processes import wait_for, write_unit

from appliance import logs

IO_ERROR = "can't read a received file: Input/output error"


@pytest.fixture
def unit(tmp_path: Path) -> Iterator[Unit]:
    with contextlib.closing(Unit(tmp_path)) as made:
        yield made


def states(unit: Unit) -> list[tuple[str, str]]:
    return unit.all("SELECT state, reason FROM instance ORDER BY id")


def spool_file(unit: Unit, instance: int) -> Path:
    file: str = unit.one("SELECT file FROM instance WHERE id = ?", instance)
    return unit.data / "spool" / file


@pytest.mark.needs_root
def test_a_failing_disk_is_waited_for_and_named_while_the_rest_is_packed(
    unit: Unit, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure("compress")
    study = unit.study()
    unit.receive(study)
    bad = unit.receive(study)
    unit.receive(study)
    unit.receive(unit.study())
    started = unit.start()
    with a_disk_that_fails(spool_file(unit, bad)):
        unit.until(lambda: unit.one("SELECT count(*) FROM instance WHERE state = 'packed'") == 3)
        unit.until(lambda: started.status == IO_ERROR and not started._busy)
        assert started.problem == "E206"
        assert states(unit)[bad - 1] == ("received", "")
    unit.pack_all()
    assert (started.status, started.problem) == ("idle", "")
    assert unit.all("SELECT DISTINCT state, pack_failures FROM instance") == [("packed", 0)]
    said = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["instance"], line["error_id"]) for line in said if "can't be read" in line["event"]] == [
        (bad, "E206")
    ]


@pytest.mark.needs_root
def test_files_of_another_owner_are_waited_for_and_told_on_the_page(unit: Unit, tmp_path: Path) -> None:
    """More of them than are tried at once."""
    study = unit.study()
    files = [spool_file(unit, unit.receive(study)) for _ in range(70)]
    for file in files:
        file.chmod(0)
    config = write_unit(tmp_path / "unit.toml", unit.data, 11112)
    with without_the_rights_of_root(config, "compress"):
        wait_for(lambda: unit.all("SELECT problem FROM process") == [("E206",)], "the problem is told")
        assert unit.one("SELECT status FROM process") == "can't read a received file: Permission denied"
        assert set(states(unit)) == {("received", "")}
        assert {name for name in unit.files() if name.endswith(".parcel")} == set()
        for file in files:
            file.chmod(0o640)
        wait_for(lambda: set(states(unit)) == {("packed", "")}, "all are packed")
        wait_for(lambda: unit.all("SELECT problem FROM process") == [("",)], "nothing is wrong any more")


def test_one_that_goes_another_way_is_no_longer_told_of(unit: Unit) -> None:
    instance = unit.receive(unit.study(), pixels("disk_fails", when="decode"))
    started = unit.start("support.hostile_jobs")
    unit.until(lambda: bool(started.problem))
    unit.db.execute("UPDATE instance SET state = 'delivered', delivered_at = 1 WHERE id = ?", (instance,))
    unit.until(lambda: not started.problem)


def test_that_a_file_cannot_be_read_is_believed_only_where_no_codec_ran(unit: Unit) -> None:
    """A codec that was taken over must not keep its instance here for ever: that goes plain first."""
    unit.receive(unit.study(), pixels("disk_fails", when="decode"))
    started = unit.start("support.hostile_jobs")
    unit.until(lambda: unit.one("SELECT pack_failures FROM instance") == 1)
    assert started.problem == ""
    unit.until(lambda: started.status == IO_ERROR and not started._busy)
    assert unit.all("SELECT state, pack_failures FROM instance") == [("received", 1)]
