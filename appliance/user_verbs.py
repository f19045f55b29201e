"""`appliance user …`: who may log in to the page of this unit."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from appliance import clock
from appliance.config import load_unit
from appliance.errors import NotFoundError
from appliance.store_forward.database import open_database, transaction
from appliance.webui import pins, users

_as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object; docs/reference/cli.md.")
_pin = click.option("--pin", help="PIN of 6 to 16 digits; without it a good one is made and printed.")


@click.group()
def user() -> None:
    """The logins of the page: add, list, disable, enable, pin."""


@contextmanager
def _queue(config_path: Path) -> Iterator[sqlite3.Connection]:
    data = load_unit(config_path).data
    data.mkdir(mode=0o750, parents=True, exist_ok=True)
    connection = open_database(data)
    try:
        yield connection
    finally:
        connection.close()


def make_pin() -> str:
    """Six random digits that are not easy to guess."""
    while True:
        pin = f"{secrets.randbelow(10**6):06d}"
        if pins.weakness(pin) is None:
            return pin


@user.command()
@click.argument("name")
@click.option("--role", type=click.Choice(users.ROLES), default="radiographer", show_default=True)
@_pin
@_as_json
@click.pass_obj
def add(config_path: Path, name: str, role: users.Role, pin: str | None, as_json: bool) -> None:
    """Add a person who may log in."""
    chosen = pin or make_pin()
    with _queue(config_path) as connection, transaction(connection):
        users.add_user(connection, name, role, chosen, clock.now_ms())
    _tell_pin(name, role, chosen, as_json=as_json)


@user.command("pin")
@click.argument("name")
@_pin
@_as_json
@click.pass_obj
def set_pin(config_path: Path, name: str, pin: str | None, as_json: bool) -> None:
    """Give a person a new PIN, and end their sessions."""
    chosen = pin or make_pin()
    with _queue(config_path) as connection, transaction(connection):
        role = _find(connection, name)["role"]
        users.set_pin(connection, name, chosen, clock.now_ms())
    _tell_pin(name, role, chosen, as_json=as_json)


def _tell_pin(name: str, role: str, pin: str, *, as_json: bool) -> None:
    if as_json:
        click.echo(msgspec.json.encode({"name": name, "role": role, "pin": pin}).decode())
        return
    click.echo(f"{name} ({role}): PIN {pin}")
    click.echo("It is shown only now; this box keeps a hash of it.", err=True)


@user.command()
@click.argument("name")
@click.pass_obj
def disable(config_path: Path, name: str) -> None:
    """Shut a person out, at once."""
    _switch(config_path, name, disabled=True)


@user.command()
@click.argument("name")
@click.pass_obj
def enable(config_path: Path, name: str) -> None:
    """Let a person in again."""
    _switch(config_path, name, disabled=False)


def _switch(config_path: Path, name: str, *, disabled: bool) -> None:
    with _queue(config_path) as connection, transaction(connection):
        users.set_disabled(connection, _find(connection, name)["id"], disabled, clock.now_ms())
    click.echo(f"{name} {'may no longer' if disabled else 'may'} log in", err=True)


@user.command("list")
@_as_json
@click.pass_obj
def list_(config_path: Path, as_json: bool) -> None:
    """List who may log in."""
    with _queue(config_path) as connection:
        rows = users.list_users(connection, alive_after=0)
    facts = [{key: row[key] for key in ("name", "role", "created_at", "disabled_at")} for row in rows]
    if as_json:
        click.echo(msgspec.json.encode({"users": facts}).decode())
        return
    for row in facts:
        since = datetime.fromtimestamp(row["created_at"] / 1000, UTC)
        click.echo(f"{row['name']} ({row['role']}) since {since:%Y-%m-%d}{', disabled' if row['disabled_at'] else ''}")
    if not facts:
        click.echo("Nobody may log in yet: appliance user add NAME --role engineer", err=True)


def _find(connection: sqlite3.Connection, name: str) -> sqlite3.Row:
    for row in users.list_users(connection, alive_after=0):
        if row["name"] == name:
            return row
    raise NotFoundError(f"There is no user {name!r}", hint="`appliance user list` shows who there is.")
