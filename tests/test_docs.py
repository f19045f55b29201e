"""The documents are true: every verb, key and error is in them, and their links lead somewhere."""

from __future__ import annotations

import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import click
import msgspec
import pytest
from support.data import CHECKOUT

import appliance
from appliance.cli import cli
from appliance.config import ROWS, HubConfig, UnitConfig
from appliance.errors import every_error
from appliance.model.tunnel import TunnelFacts
from appliance.store_forward.doctor import Check
from appliance.store_forward.status import Disk, Line, Process, Status

DOCS = CHECKOUT / "docs"
PAGES = [CHECKOUT / "README.md", CHECKOUT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]


def _words(page: str) -> str:
    return (DOCS / page).read_text("utf-8")


def _verbs(group: click.Group, path: str) -> Iterator[str]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        yield f"{path} {name}"
        if isinstance(command, click.Group):
            yield from _verbs(command, f"{path} {name}")


def test_every_verb_has_a_heading() -> None:
    text = _words("reference/cli.md")
    missing = [verb for verb in _verbs(cli, "appliance") if f"### `{verb}`\n" not in text]
    assert missing == []


def test_every_verb_that_prints_json_says_what_it_prints() -> None:
    text = _words("reference/cli.md").partition("## Verbs")[0]
    for verb in _verbs(cli, "appliance"):
        command: click.Command = cli
        for name in verb.split()[1:]:
            assert isinstance(command, click.Group)
            found = command.get_command(click.Context(command), name)
            assert found is not None
            command = found
        if any("--json" in parameter.opts for parameter in command.params):
            named = verb.removeprefix("appliance ")
            assert f"`{verb} --json`" in text or f"`{named}`" in text, verb


@pytest.mark.parametrize("kind", [Status, Line, TunnelFacts, Process, Disk, Check])
def test_every_field_of_the_json_is_explained(kind: type[msgspec.Struct]) -> None:
    text = _words("reference/cli.md").partition("## Verbs")[0]
    assert [name for name in kind.__struct_fields__ if f"`{name}`" not in text] == []


def test_every_key_of_both_files_has_a_row() -> None:
    text = _words("reference/config.md")
    rows = [(f"{section}.{name}", row) for section, tables in ROWS.items() for name, row, _ in tables]
    keys = [f"{table}.{name}" for table, row in rows for name in row.__struct_fields__]
    for kind in (UnitConfig, HubConfig):
        for section in msgspec.structs.fields(kind):
            keys += [f"{section.name}.{name}" for name in type(section.default).__struct_fields__]
    assert [key for key in keys if f"| `{key}` |" not in text] == []


def test_every_error_has_a_heading_and_says_what_to_do() -> None:
    for module in pkgutil.walk_packages(appliance.__path__, "appliance."):
        if ".migrations" not in module.name:
            import_module(module.name)
    text = _words("reference/errors.md")
    assert [kind.id for kind in every_error() if f"### {kind.id}\n" not in text] == []


def test_no_two_errors_of_all_rooms_share_an_id() -> None:
    headings = re.findall(r"^### (E\d{3})$", _words("reference/errors.md"), re.MULTILINE)
    assert len(headings) == len(set(headings))


def test_the_generated_parts_are_those_of_the_code() -> None:
    done = subprocess.run(
        [sys.executable, str(DOCS / "generate.py"), "--check"], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for target in LINK.findall(page.read_text("utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        linked = (page.parent / name).resolve() if name else page
        assert linked.exists(), f"{page.name}: {target}"
        if anchor:
            assert anchor in _anchors(linked), f"{page.name}: {target}"


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_threats_are_numbered_without_a_gap() -> None:
    numbers = [int(number) for number in re.findall(r"^\*\*T(\d+)\. ", _words("security.md"), re.MULTILINE)]
    assert numbers == list(range(1, len(numbers) + 1))


def test_every_test_that_the_threat_model_names_is_there() -> None:
    text = " ".join(_words("security.md").split())
    named = re.findall(r"(?:unit|integration|system|crash|fuzz)/[\w/]*test_\w+", text)
    assert len(named) > 20
    assert [name for name in named if not (CHECKOUT / "tests" / f"{name}.py").is_file()] == []


def test_the_readme_shows_the_two_commands_first() -> None:
    first_screen = (CHECKOUT / "README.md").read_text("utf-8").splitlines()[:25]
    assert any(line.startswith("./dev demo") for line in first_screen)
    assert any(line.startswith("./dev test") for line in first_screen)


def test_every_verb_of_dev_is_in_its_help() -> None:
    script = (CHECKOUT / "dev").read_text("utf-8")
    verbs = re.findall(r"^(\w+)\) run_", script, re.MULTILINE)
    help_ = subprocess.run([CHECKOUT / "dev"], capture_output=True, text=True, timeout=30, check=True).stdout
    assert len(verbs) >= 9
    assert [verb for verb in verbs if f"./dev {verb}" not in help_] == []


def test_every_room_is_in_the_architecture() -> None:
    text = _words("architecture.md")
    rooms = [path.parent.name for path in (CHECKOUT / "appliance").glob("*/__init__.py")]
    assert [room for room in rooms if f"`{room}/`" not in text] == []
    modules = [path.name for path in (CHECKOUT / "appliance").glob("*.py") if path.name != "__init__.py"]
    assert [module for module in modules if f"`{module}`" not in text] == []
