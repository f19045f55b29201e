"""Draws the generated parts of docs/ from the code, so that the two can't differ: `./dev docs`, `./dev docs --check`.

A generated part stands between `<!-- generated: NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import pkgutil
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import msgspec

import appliance
from appliance.cli import cli
from appliance.config import ROWS, HubConfig, UnitConfig, describe
from appliance.errors import every_error
from appliance.model.states import INSTANCE_TRANSITIONS, PARCEL_TRANSITIONS

DOCS = Path(__file__).parent
_PART = re.compile(r"(<!-- generated: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def state_diagram(table: Mapping[tuple[Any, Any], Any], first: str) -> str:
    """A Mermaid diagram of one transition table; events between the same two states share an arrow."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for (before, event), after in table.items():
        arrows.setdefault((str(before), str(after)), []).append(str(event))
    lines = [f"    [*] --> {first}"]
    lines += [f"    {before} --> {after}: {', '.join(events)}" for (before, after), events in arrows.items()]
    return "\n".join(["```mermaid", "stateDiagram-v2", *lines, "```"]) + "\n"


def instance_states() -> str:
    """What may become of an instance."""
    return state_diagram(INSTANCE_TRANSITIONS, "received")


def parcel_states() -> str:
    """What may become of a parcel."""
    return state_diagram(PARCEL_TRANSITIONS, "built")


def config_tables(kind: type[UnitConfig] | type[HubConfig]) -> str:
    """Every key of a file, a table for each section."""
    parts = []
    for section in msgspec.structs.fields(kind):
        struct = type(section.default)
        parts.append(
            f"### `[{section.name}]`\n\n{(struct.__doc__ or '').strip()}\n\n{_key_table(section.name, struct)}"
        )
        for name, row, _ in ROWS.get(section.name, ()):
            table, doc = f"{section.name}.{name}", (row.__doc__ or "").strip()
            parts.append(f"### `[[{table}]]`\n\n{doc}\n\n{_key_table(table, row)}")
    return "\n\n".join(parts) + "\n"


def _key_table(section: str, struct: type[msgspec.Struct]) -> str:
    rows = ["| key | default | meaning |", "|---|---|---|"]
    for field, meaning in describe(struct):
        default = "none" if field.default is msgspec.NODEFAULT else f"`{_toml(field.default)}`"
        rows.append(f"| `{section}.{field.name}` | {default} | {meaning} |")
    return "\n".join(rows)


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "unset"
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def errors() -> str:
    """Every error of every room: id, message, exit code, what to do."""
    for module in pkgutil.walk_packages(appliance.__path__, "appliance."):
        if ".migrations" not in module.name:
            import_module(module.name)
    parts = []
    for kind in every_error():
        hint = kind.hint or "Nothing: the boxes settle it between them."
        parts.append(
            f"### {kind.id}\n\n{(kind.__doc__ or '').strip()}\n\nExit code {kind.exit_code}. *What to do:* {hint}"
        )
    return "\n\n".join(parts) + "\n"


def verbs() -> str:
    """Every verb with its own `--help`."""
    parts = []
    for path, command in _walk(cli, ("appliance",)):
        context = click.Context(
            command,
            info_name=" ".join(path),
            terminal_width=100,
            max_content_width=100,
            help_option_names=["-h", "--help"],
        )
        parts.append(f"### `{' '.join(path)}`\n\n```text\n{command.get_help(context)}\n```")
    return "\n\n".join(parts) + "\n"


def _walk(group: click.Group, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group, info_name=path[-1])
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None:
            continue
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from _walk(command, (*path, name))


PARTS: dict[str, Callable[[], str]] = {
    "instance-states": instance_states,
    "parcel-states": parcel_states,
    "unit-config": lambda: config_tables(UnitConfig),
    "hub-config": lambda: config_tables(HubConfig),
    "errors": errors,
    "verbs": verbs,
}


def drawn(text: str) -> str:
    """The text of a page with its generated parts drawn anew."""
    return _PART.sub(lambda match: f"{match[1]}{PARTS[match[2]]()}{match[3]}", text)


def main(arguments: list[str]) -> int:
    """Writes what changed; with `--check` only says so, and returns 1."""
    stale = []
    for page in sorted(DOCS.rglob("*.md")):
        before = page.read_text("utf-8")
        after = drawn(before)
        if after != before:
            stale.append(page)
            if "--check" not in arguments:
                page.write_text(after, "utf-8")
    said = "differs from the code; run ./dev docs" if "--check" in arguments else "drawn anew"
    for page in stale:
        sys.stdout.write(f"{page.relative_to(DOCS.parent)}: {said}\n")
    return int(bool(stale) and "--check" in arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
