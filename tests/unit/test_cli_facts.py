"""`status` and `doctor` at a terminal: sentences for a person, and `--json` with the promised fields."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support import rows

from appliance import clock
from appliance.cli import cli
from appliance.model.states import InstanceEvent
from appliance.store_forward.database import open_database
from appliance.store_forward.queue import move_instances


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("a.b")
    (tmp_path / "secret").chmod(0o600)
    settings = [f"hub.secret_file={tmp_path}/secret", "storage.reserve_bytes=1048576", "site.name=Mangochi DH"]
    words = [word for setting in settings for word in ("--set", setting)]
    CliRunner().invoke(cli, ["init", str(tmp_path / "unit.toml"), "--data", str(tmp_path / "data"), *words])
    (tmp_path / "data").mkdir()
    return tmp_path / "unit.toml"


def _call(path: Path, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["--config", str(path), *arguments])


def _fill(path: Path) -> None:
    now = clock.now_ms()
    connection = open_database(path.parent / "data")
    study = rows.add_study(connection, first_received_at=now - 7_200_000, patient_name="DOE^JANE")
    instance = rows.add_instance(connection, study, rows.add_series(connection, study))
    move_instances(connection, [instance], InstanceEvent.PACK)
    rows.add_parcel(connection, study, bytes=3_400_000)
    rows.set_line(connection, since=now - 600_000, rate=10_000.0)
    rows.add_process(connection, "forward", beat_at=now, status="sending, 12 kB/s")
    connection.close()


def test_status_before_the_first_start(path: Path) -> None:
    done = _call(path, "status")
    assert done.exit_code == 6
    assert "has not run yet" in done.stderr


def test_status_in_words(path: Path) -> None:
    _fill(path)
    done = _call(path, "status")
    assert done.exit_code == 0, done.output
    assert "site      Mangochi DH (site-1)" in done.stdout
    assert "to send   3.4 MB packed, and 0 B not packed yet" in done.stdout
    assert "line      up for 10 min: Hub, 10 kB/s, 700 ms" in done.stdout
    assert "forward   sending, 12 kB/s" in done.stdout
    assert "receive   does not run" in done.stdout
    assert "DOE" not in done.output


def test_an_estimate_stands_only_when_the_whole_is_known(path: Path) -> None:
    _fill(path)
    assert "(about 6 min at the present rate)" in _call(path, "status").stdout
    connection = open_database(path.parent / "data")
    study = rows.add_study(connection)
    rows.add_instance(connection, study, rows.add_series(connection, study))
    connection.close()
    assert "about" not in _call(path, "status").stdout


def test_status_as_json_is_one_object(path: Path) -> None:
    _fill(path)
    facts = json.loads(_call(path, "status", "--json").stdout)
    assert (facts["site"], facts["bytes_to_send"], facts["instances_packed"]) == ("site-1", 3_400_000, 1)
    assert facts["line"]["up"] is True
    assert facts["processes"][0]["name"] == "forward"


def test_doctor_says_what_to_do_and_exits_with_the_worst(path: Path) -> None:
    _fill(path)
    done = _call(path, "doctor")
    assert done.exit_code == 2
    lines = done.stdout.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("FAILING  receive: it has never run here"))
    assert lines[at + 1].strip().startswith("→ Restart the unit: `systemctl restart appliance`")
    assert lines[-1].startswith("Of ")


def test_doctor_as_json_has_each_check_and_the_exit_code(path: Path) -> None:
    done = _call(path, "doctor", "--json")
    facts = json.loads(done.stdout)
    assert facts["exit_code"] == done.exit_code == 1
    assert {check["level"] for check in facts["checks"]} == {"ok", "warning"}
    assert set(facts["checks"][0]) == {"name", "level", "said", "since", "todo"}


def test_doctor_with_a_broken_configuration_still_speaks(path: Path) -> None:
    path.write_text("[web]\nprot = 1\n")
    done = _call(path, "doctor")
    assert done.exit_code == 2
    assert "FAILING  configuration:" in done.stdout
