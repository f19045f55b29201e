"""The command as a whole: verbs, help, errors, exit codes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from appliance import __version__, cli
from appliance.errors import DiskFullError, MissingPackagesError


def _run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(cli.cli, list(arguments))
    return result.exit_code, result.stdout, result.stderr


def test_the_version_is_that_of_the_package() -> None:
    assert _run("--version")[:2] == (0, f"appliance, version {__version__}\n")


def test_help_names_every_verb_in_one_line_each() -> None:
    code, said, _ = _run("--help")
    assert code == 0
    listed = [line.split()[0] for line in said.partition("Commands:\n")[2].splitlines() if line.strip()]
    assert listed == cli.Root.order


def test_help_of_a_unit_loads_no_package_of_the_hub() -> None:
    program = "import sys; from appliance.cli import cli; cli(['--help'], standalone_mode=False); "
    program += "sys.exit(bool({'sqlalchemy', 'alembic', 'aiohttp', 'flask', 'pydicom'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0


def test_a_verb_that_is_not_there_is_exit_code_2() -> None:
    code, _, said = _run("fly")
    assert code == 2
    assert "No such command" in said


def test_a_hub_without_its_packages_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("appliance.hub", "sqlalchemy"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)  # as if it were not installed
    code, _, said = _run("hub", "list")
    assert code == MissingPackagesError.exit_code
    assert "pip install 'appliance[hub]'" in said


def test_an_error_is_its_id_what_happened_and_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    def full() -> None:
        raise DiskFullError

    monkeypatch.setitem(cli.cli.commands, "status", full)
    code, said, errors = _run("status")
    assert (code, said) == (DiskFullError.exit_code, "")
    assert errors == (
        f"appliance: E202: The disk is nearly full, so nothing more is accepted.\n  What to do: {DiskFullError.hint}\n"
    )


def test_no_colour_leaves_the_process_when_it_is_not_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = CliRunner().invoke(cli.cli, ["--config", str(tmp_path / "none"), "status"], color=True)
    assert "\x1b[" in wanted.stderr
    monkeypatch.setenv("NO_COLOR", "1")
    unwanted = CliRunner().invoke(cli.cli, ["--config", str(tmp_path / "none"), "status"])
    assert "\x1b[" not in unwanted.stderr


@pytest.mark.parametrize("verb", ["run", "receive", "compress", "forward", "web", "status", "user list"])
def test_a_verb_without_a_configuration_says_which_file(tmp_path: Path, verb: str) -> None:
    code, _, said = _run("--config", str(tmp_path / "none.toml"), *verb.split())
    assert code == 2
    assert f"E101: {tmp_path}/none.toml can't be read" in said


def test_the_environment_may_name_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APPLIANCE_CONFIG", str(tmp_path / "mine.toml"))
    assert f"{tmp_path}/mine.toml" in _run("status")[2]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_names_the_command(shell: str) -> None:
    code, said, _ = _run("completion", shell)
    assert code == 0
    assert "_APPLIANCE_COMPLETE" in said
