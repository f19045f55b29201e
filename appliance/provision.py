"""`appliance init`: writes a configuration file, and says what comes next."""

from __future__ import annotations

import os
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from appliance.config import HubConfig, UnitConfig, load_hub, load_unit, write_commented
from appliance.errors import ConfigError, UsageError

_KEYS: Final = {
    "unit": {"data": "storage.data", "site_id": "site.id", "site_name": "site.name", "hub_url": "hub.url"},
    "hub": {"data": "hub.data"},
}
_KINDS: Final[dict[str, type[UnitConfig] | type[HubConfig]]] = {"unit": UnitConfig, "hub": HubConfig}


def values_of(role: str, named: Mapping[str, str | None], settings: Sequence[str]) -> dict[str, Any]:
    """Dotted keys and their values, from the named options and the `KEY=VALUE` settings. Raises UsageError."""
    values: dict[str, Any] = {}
    if role == "unit":
        values["hub.secret_file"] = "/etc/appliance/hub.secret"
    for option, value in named.items():
        if value is None:
            continue
        if option not in _KEYS[role]:
            raise UsageError(f"--{option.replace('_', '-')} is an option of a unit, not of a {role}")
        values[_KEYS[role][option]] = str(Path(value).absolute()) if option == "data" else value
    for setting in settings:
        key, _, text = setting.partition("=")
        values[_known(role, key.strip())] = _value(text.strip())
    return values


def _known(role: str, key: str) -> str:
    sections = {field.name: type(field.default) for field in msgspec.structs.fields(_KINDS[role])}
    section, _, name = key.partition(".")
    if section not in sections or name not in sections[section].__struct_fields__:
        raise UsageError(
            f"There is no key {key!r} in the file of a {role}", hint="docs/reference/config.md lists them."
        )
    return key


def _value(text: str) -> Any:
    """A value as in TOML; what is no TOML value is text, so that `site.name=My hospital` needs no quotes."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def write_config(path: Path, role: str, values: dict[str, Any], *, force: bool) -> None:
    """Writes the file, readable by its owner and group; only a whole and sound one appears. Raises ConfigError."""
    if path.exists() and not force:
        raise ConfigError(f"{path} is there already", hint="Add --force to replace it, or name another file.")
    text = write_commented(HubConfig, values) if role == "hub" else write_commented(UnitConfig, values)
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise ConfigError(f"{path} can't be written: {error.strerror}", hint="Make its directory first.") from error
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        load_hub(Path(name)) if role == "hub" else load_unit(Path(name))
        Path(name).chmod(0o640)
        Path(name).rename(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def next_steps(role: str, path: Path) -> list[str]:
    """What a field engineer does after `init`."""
    if role == "hub":
        return [
            f"appliance --config {path} hub site add SITE   prints the secret of a site",
            f"appliance --config {path} hub run             starts the hub",
        ]
    return [
        "put the secret that the hub gave this site into hub.secret_file, chmod 640",
        f"appliance --config {path} user add NAME   makes a login for the page",
        f"appliance --config {path} run             starts the unit",
        f"appliance --config {path} doctor          says what is still missing",
    ]
