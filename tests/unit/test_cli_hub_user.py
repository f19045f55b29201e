"""`appliance hub user` and the jurisdictions of `appliance hub site`, at a shell of the hub."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from appliance.cli import cli
from appliance.config import load_hub
from appliance.hub.index.database import Index
from appliance.hub.people import passwords, persons, tokens


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "hub.toml"
    CliRunner().invoke(cli, ["init", str(path), "--role", "hub", "--data", str(tmp_path / "data")])
    for site in ("mangochi", "nkhoma"):
        assert _hub(path, "site", "add", site).exit_code == 0
    return path


def _hub(path: Path, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["--config", str(path), "hub", *arguments])


def _user(path: Path, *arguments: str) -> Result:
    return _hub(path, "user", *arguments)


def _users(path: Path) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in json.loads(_user(path, "list", "--json").stdout)["users"]}


def test_a_person_gets_a_password_that_is_shown_once_and_kept_as_a_hash(path: Path) -> None:
    done = _user(path, "add", "Mary", "--role", "staff", "--site", "mangochi", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    index = Index.open(load_hub(path))
    with index.read() as connection:
        kept = persons.find(connection, "Mary").password_hash
    index.close()
    assert told["name"] == "Mary"
    assert passwords.matches(kept, told["password"])
    assert told["password"] not in kept
    assert _users(path)["Mary"] | {"created_at": 0} == {
        "name": "Mary",
        "role": "staff",
        "all_sites": False,
        "sites": ["mangochi"],
        "jurisdictions": [],
        "created_at": 0,
        "revoked_at": None,
        "seen_at": None,
        "sessions": 0,
    }


@pytest.mark.parametrize("whose", [(), ("--all", "--site", "mangochi"), ("--all", "--jurisdiction", "south")])
def test_it_is_said_whose_studies_a_person_sees_and_said_once(path: Path, whose: tuple[str, ...]) -> None:
    assert _user(path, "add", "Mary", *whose).exit_code == 2
    assert _user(path, "list").stderr == "Nobody may log in yet: appliance hub user add NAME --role admin --all\n"


@pytest.mark.parametrize("whose", [("--site", "mangoche"), ("--jurisdiction", "south")])
def test_a_site_or_jurisdiction_that_is_mistyped_is_refused(path: Path, whose: tuple[str, ...]) -> None:
    assert _user(path, "add", "Mary", *whose).exit_code == 6
    assert _users(path) == {}


def test_a_jurisdiction_is_said_of_sites_and_granted_to_people(path: Path) -> None:
    assert _hub(path, "site", "set-jurisdictions", "mangochi", "south", "lake").exit_code == 0
    assert _user(path, "add", "Mary", "--jurisdiction", "south").exit_code == 0
    assert _users(path)["Mary"]["jurisdictions"] == ["south"]
    found = {
        one["id"]: one["jurisdictions"] for one in json.loads(_hub(path, "site", "list", "--json").stdout)["sites"]
    }
    assert found == {"mangochi": ["lake", "south"], "nkhoma": []}
    assert _hub(path, "site", "set-jurisdictions", "mangochi").stderr == "mangochi is in no jurisdiction\n"


def test_role_and_sites_are_changed(path: Path) -> None:
    _user(path, "add", "Mary", "--all")
    assert _user(path, "set-role", "mary", "admin").exit_code == 0
    assert _user(path, "set-sites", "mary", "--site", "nkhoma").exit_code == 0
    mary = _users(path)["Mary"]
    assert (mary["role"], mary["all_sites"], mary["sites"]) == ("admin", False, ["nkhoma"])
    assert "nkhoma" in _user(path, "list").stdout
    assert _user(path, "set-role", "Nobody", "admin").exit_code == 6


def test_who_is_shut_out_is_let_in_again_by_another_password(path: Path) -> None:
    _user(path, "add", "Mary", "--all")
    assert _user(path, "revoke", "Mary").exit_code == 0
    assert _users(path)["Mary"]["revoked_at"]
    assert "shut out" in _user(path, "list").stdout
    assert _user(path, "token", "add", "Mary", "--label", "OHIF").exit_code == 2
    assert _user(path, "reset-password", "Mary").exit_code == 0
    assert _users(path)["Mary"]["revoked_at"] is None


def test_a_password_goes_to_a_new_file_that_only_its_owner_reads(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "mary.txt"
    done = _user(path, "add", "Mary", "--all", "--secret-file", str(target))
    assert done.stdout == ""
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert passwords.weakness(target.read_text().strip(), "Mary") is None
    assert _user(path, "add", "Jane", "--all", "--secret-file", str(target)).exit_code == 2
    assert list(_users(path)) == ["Mary"]  # what can't be handed out is not made


def test_a_token_is_shown_once_listed_and_ended(path: Path) -> None:
    _user(path, "add", "Mary", "--all")
    made = json.loads(_user(path, "token", "add", "Mary", "--label", "OHIF", "--days", "30", "--json").stdout)
    assert tokens.parse_bearer(f"Bearer {made['token']}")
    (listed,) = json.loads(_user(path, "token", "list", "--json").stdout)["tokens"]
    assert (listed["person"], listed["label"], listed["ended_at"]) == ("Mary", "OHIF", None)
    assert made["token"] not in str(listed)
    assert "OHIF" in _user(path, "token", "list", "mary").stdout
    assert _user(path, "token", "revoke", str(listed["id"])).exit_code == 0
    assert _user(path, "token", "revoke", "99").exit_code == 6
    assert "ended" in _user(path, "token", "list").stdout


def test_a_name_that_is_taken_or_none_and_a_bad_label_are_refused(path: Path) -> None:
    _user(path, "add", "Mary", "--all")
    for arguments in (("add", "MARY", "--all"), ("add", "<x>", "--all"), ("token", "add", "Mary", "--label", " ")):
        assert _user(path, *arguments).exit_code == 2, arguments
    assert list(_users(path)) == ["Mary"]
