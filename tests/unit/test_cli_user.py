"""`appliance user`: logins of the page from a shell on the box."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from appliance.cli import cli
from appliance.store_forward.database import open_database
from appliance.webui import pins


@pytest.fixture
def path(tmp_path: Path) -> Path:
    CliRunner().invoke(cli, ["init", str(tmp_path / "unit.toml"), "--data", str(tmp_path / "data")])
    return tmp_path / "unit.toml"


def _user(path: Path, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["--config", str(path), "user", *arguments])


def test_a_user_gets_a_pin_that_is_shown_once(path: Path) -> None:
    done = _user(path, "add", "Mary", "--role", "engineer", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["name"], told["role"]) == ("Mary", "engineer")
    connection = open_database(path.parent / "data")
    kept = connection.execute("SELECT pin_hash FROM user").fetchone()["pin_hash"]
    connection.close()
    assert pins.matches(kept, told["pin"])
    assert told["pin"] not in kept


def test_every_pin_that_is_made_is_one_that_may_be_used() -> None:
    from appliance.user_verbs import make_pin

    assert [pin for pin in (make_pin() for _ in range(200)) if pins.weakness(pin)] == []


def test_a_weak_pin_is_refused_and_nobody_is_added(path: Path) -> None:
    done = _user(path, "add", "Mary", "--pin", "123456")
    assert done.exit_code == 2
    assert "too easy to guess" in done.stderr
    assert json.loads(_user(path, "list", "--json").stdout) == {"users": []}


def test_a_new_pin_replaces_the_old_one(path: Path) -> None:
    _user(path, "add", "Mary", "--role", "engineer", "--pin", "802713")
    done = _user(path, "pin", "Mary", "--pin", "517390")
    assert done.exit_code == 0, done.output
    assert "Mary (engineer): PIN 517390" in done.stdout


def test_a_disabled_user_is_listed_as_such_and_can_come_back(path: Path) -> None:
    _user(path, "add", "Anna", "--role", "engineer")
    _user(path, "add", "Mary")
    assert _user(path, "disable", "Mary").exit_code == 0
    assert "Mary (radiographer)" in _user(path, "list").stdout
    assert "disabled" in _user(path, "list").stdout
    assert _user(path, "enable", "Mary").exit_code == 0
    assert "disabled" not in _user(path, "list").stdout


def test_the_last_engineer_can_not_be_shut_out(path: Path) -> None:
    _user(path, "add", "Anna", "--role", "engineer")
    assert _user(path, "disable", "Anna").exit_code == 2


def test_a_name_that_is_not_there_is_said_so(path: Path) -> None:
    for verb in ("disable", "enable", "pin"):
        done = _user(path, verb, "Nobody")
        assert done.exit_code == 6
        assert "user list" in done.stderr
