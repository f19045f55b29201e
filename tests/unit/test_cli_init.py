"""`appliance init`: one sound file, nothing else, and what comes next."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from appliance.cli import cli
from appliance.config import load_hub, load_unit


def _init(path: Path, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["init", str(path), *arguments])


def test_a_unit_gets_its_file_and_nothing_else(tmp_path: Path) -> None:
    data = tmp_path / "data"
    done = _init(tmp_path / "unit.toml", "--data", str(data), "--site-id", "mangochi", "--site-name", "Mangochi DH")
    assert done.exit_code == 0, done.output
    assert [entry.name for entry in tmp_path.iterdir()] == ["unit.toml"]
    config = load_unit(tmp_path / "unit.toml")
    assert (config.site.id, config.site.name, config.data) == ("mangochi", "Mangochi DH", data)
    assert f"--config {tmp_path}/unit.toml run" in done.stderr


def test_a_hub_gets_its_file(tmp_path: Path) -> None:
    done = _init(tmp_path / "hub.toml", "--role", "hub", "--data", str(tmp_path), "--set", "hub.name=Region North")
    assert done.exit_code == 0, done.output
    config = load_hub(tmp_path / "hub.toml")
    assert (config.data, config.hub.name) == (tmp_path, "Region North")
    assert "hub site add" in done.stderr


def test_any_key_can_be_set(tmp_path: Path) -> None:
    settings = ["dicom.port=104", "dicom.accept_deflated=true", "storage.retention_days=2.5", 'site.language="fr"']
    done = _init(tmp_path / "unit.toml", *(word for setting in settings for word in ("--set", setting)))
    assert done.exit_code == 0, done.output
    config = load_unit(tmp_path / "unit.toml")
    assert (config.dicom.port, config.dicom.accept_deflated) == (104, True)
    assert (config.storage.retention_days, config.site.language) == (2.5, "fr")


def test_a_file_that_is_there_stays_unless_forced(tmp_path: Path) -> None:
    path = tmp_path / "unit.toml"
    path.write_text("[web]\nport = 81\n")
    refused = _init(path)
    assert refused.exit_code == 2
    assert "--force" in refused.stderr
    assert load_unit(path).web.port == 81
    assert _init(path, "--force").exit_code == 0
    assert load_unit(path).web.port == 8080


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "web.prot=1"], "There is no key 'web.prot'"),
        (["--set", "nonsense"], "There is no key 'nonsense'"),
        (["--set", "web.port=99999"], "web.port"),
        (["--site-id", "Not An Id"], "site.id"),
        (["--role", "hub", "--site-id", "a"], "option of a unit"),
    ],
)
def test_a_bad_value_writes_nothing(tmp_path: Path, arguments: list[str], said: str) -> None:
    done = _init(tmp_path / "unit.toml", *arguments)
    assert done.exit_code == 2
    assert said in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    done = _init(tmp_path / "none" / "unit.toml")
    assert done.exit_code == 2
    assert "Make its directory first" in done.stderr


def test_the_file_is_not_readable_by_everyone(tmp_path: Path) -> None:
    _init(tmp_path / "unit.toml")
    assert (tmp_path / "unit.toml").stat().st_mode & 0o777 == 0o640
