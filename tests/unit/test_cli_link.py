"""`appliance link`: what may go, the pause from a shell, and what is told of rules that can never be met."""

from __future__ import annotations

import json
import os
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from appliance.cli import cli
from appliance.clock import now_ms
from appliance.store_forward.database import open_database

HOUR = 3_600_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A unit that has run."""
    CliRunner().invoke(cli, ["init", str(tmp_path / "unit.toml"), "--data", str(tmp_path / "data")])
    (tmp_path / "data").mkdir()
    open_database(tmp_path / "data").close()
    return tmp_path / "unit.toml"


def link(path: Path, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["--config", str(path), "link", *arguments])


def facts(path: Path, *arguments: str) -> Any:
    done = link(path, *arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def add(path: Path, text: str) -> None:
    path.write_text(path.read_text() + text)


def test_without_rules_everything_goes(path: Path) -> None:
    found = facts(path, "show")
    assert found["may_go"] == ["stat", "urgent", "routine", "prior"]
    assert (found["cap_bytes_per_second"], found["holds"], found["never"], found["pause"]) == (None, [], [], None)
    assert link(path, "show").stdout.startswith("goes      everything\n")


def test_a_pause_has_a_name_and_an_end_lets_stat_go_and_is_in_the_audit_trail(path: Path) -> None:
    before = now_ms()
    found = facts(path, "pause", "--for", "2h", "--by", "Grace")
    assert found["may_go"] == ["stat"]
    assert before + 2 * HOUR <= found["changes_at"] <= now_ms() + 2 * HOUR
    assert {(hold["priority"], hold["reason"], hold["name"]) for hold in found["holds"]} == {
        (priority, "paused", "Grace") for priority in ("urgent", "routine", "prior")
    }
    assert "Paused by Grace until" in link(path, "show").stdout
    assert facts(path, "resume", "--by", "Joseph")["may_go"] == ["stat", "urgent", "routine", "prior"]
    with closing(open_database(path.parent / "data", read_only=True)) as connection:
        trail = [tuple(row) for row in connection.execute("SELECT actor, role, action, detail FROM audit_event")]
    assert trail == [
        ("Grace", "shell", "pause_link", "everything but stat, for 7200 s"),
        ("Joseph", "shell", "resume_link", ""),
    ]


def test_a_user_that_the_system_has_no_name_for_may_pause_too(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME", "SUDO_USER"):
        monkeypatch.delenv(variable, raising=False)

    def no_such_user(_uid: int) -> None:
        raise KeyError

    monkeypatch.setattr("pwd.getpwuid", no_such_user)
    found = facts(path, "pause")
    assert found["pause"]["by"] == str(os.getuid())


def test_a_pause_may_hold_everything_until_somebody_resumes(path: Path) -> None:
    found = facts(path, "pause", "--all")
    assert (found["may_go"], found["changes_at"], found["pause"]["until"]) == ([], None, None)
    assert "until somebody resumes it" in link(path, "show").stdout
    link(path, "resume")
    assert link(path, "resume").exit_code == 0, "twice is as good as once"


@pytest.mark.parametrize("span", ["2", "h", "0m", "-1h", "2w", "400d", "1h30m"])
def test_a_time_that_can_not_be_read_is_refused(path: Path, span: str) -> None:
    done = link(path, "pause", f"--for={span}")
    assert done.exit_code == 2
    assert facts(path, "show")["pause"] is None


def test_rules_that_can_never_be_met_are_told(path: Path) -> None:
    add(path, '[[link.windows]]\npriorities = ["urgent"]\n')
    assert [(n["priority"], n["reason"]) for n in facts(path, "show")["never"]] == [
        ("routine", "hours"),
        ("prior", "hours"),
    ]
    assert "the rules in the file never let go: routine, prior" in link(path, "show").stdout


def test_a_spent_budget_is_told_with_its_uplink_and_the_cap_with_its_unit(path: Path) -> None:
    text = path.read_text().replace("rate_kbit = 0", "rate_kbit = 256", 1)
    path.write_text(text + '[[link.uplinks]]\nname = "SIM"\nmonthly_mb = 1\n')
    month = facts(path, "show")["month"]
    with closing(open_database(path.parent / "data")) as connection:
        connection.execute("INSERT INTO uplink_usage VALUES ('SIM', ?, 1000000, 400000)", (month,))
    found = facts(path, "show")
    assert found["may_go"] == ["stat"]
    assert found["carried"] == [
        {"uplink": "SIM", "bytes": 1_000_000, "stat_bytes": 400_000, "monthly_bytes": 1_000_000}
    ]
    said = link(path, "show").stdout
    assert "The monthly budget of SIM is spent; next at" in said
    assert "cap       256 kbit/s" in said
    assert "uplink    SIM: 1.0 MB of 1.0 MB this month, 400 kB for stat studies, in use" in said


def test_a_unit_that_never_ran_says_so(tmp_path: Path) -> None:
    CliRunner().invoke(cli, ["init", str(tmp_path / "unit.toml"), "--data", str(tmp_path / "data")])
    assert link(tmp_path / "unit.toml", "show").exit_code == 6
