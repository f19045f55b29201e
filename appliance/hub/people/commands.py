"""`appliance hub user …`: who may log in to the hub, what each may do, and whose studies each sees."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import click
import msgspec
from sqlalchemy import Connection

from appliance import clock, terminal
from appliance.audit.person import person as who_works_here
from appliance.config import HubConfig, load_hub
from appliance.errors import UsageError
from appliance.hub.index.database import Index
from appliance.hub.people import passwords, persons, scopes, sessions
from appliance.hub.people.persons import Person
from appliance.hub.people.token_commands import token
from appliance.hub.people.values import Actor, Grant, Role
from appliance.hub.secret_files import secret_file_option, write_secret

_as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object; docs/reference/cli.md.")
_role = click.Choice([str(role) for role in Role])


@click.group()
def user() -> None:
    """People of the hub: add, list, set-role, set-sites, reset-password, revoke; token for their viewers."""


user.add_command(token)


@contextmanager
def _changing(config_path: Path) -> Iterator[Connection]:
    with closing(Index.open(load_hub(config_path))) as index, index.write() as connection:
        yield connection


def _by() -> Actor:
    return Actor(who_works_here(), "shell")


def _grant(everything: bool, site_ids: tuple[str, ...], jurisdictions: tuple[str, ...]) -> Grant:
    """Raises UsageError unless it is said whose studies, and not twice."""
    if everything == bool(site_ids or jurisdictions):
        raise UsageError("Say whose studies: --all, or --site and --jurisdiction, as often as needed")
    return Grant(everything, site_ids, jurisdictions)


def _whose(command: click.decorators.FC) -> click.decorators.FC:
    for option in (
        click.option("--jurisdiction", "jurisdictions", multiple=True, help="Sees studies of all sites in it."),
        click.option("--site", "site_ids", multiple=True, help="Sees studies of this site."),
        click.option("--all", "everything", is_flag=True, help="Sees studies of every site."),
    ):
        command = option(command)
    return command


@user.command()
@click.argument("name")
@click.option("--role", type=_role, default=Role.READER.value, show_default=True, help="What the person may do.")
@_whose
@secret_file_option
@_as_json
@click.pass_obj
def add(
    config_path: Path,
    name: str,
    role: str,
    everything: bool,
    site_ids: tuple[str, ...],
    jurisdictions: tuple[str, ...],
    secret_file: Path | None,
    as_json: bool,
) -> None:
    """Add a person and print a password, once; the person changes it after the first login."""
    grant = _grant(everything, site_ids, jurisdictions)
    password = passwords.new_password()
    hashed = persons.hashed(password, name)
    with _changing(config_path) as connection:
        persons.add(connection, name, Role(role), grant, hashed, clock.now_ms(), _by())
        _hand_out(name, password, secret_file, as_json=as_json)


@user.command("set-role")
@click.argument("name")
@click.argument("role", type=_role)
@click.pass_obj
def set_role(config_path: Path, name: str, role: str) -> None:
    """Say what a person may do, from their next request on."""
    with _changing(config_path) as connection:
        persons.set_role(connection, name, Role(role), clock.now_ms(), _by())
    click.echo(f"{name} is {role}", err=True)


@user.command("set-sites")
@click.argument("name")
@_whose
@click.pass_obj
def set_sites(
    config_path: Path, name: str, everything: bool, site_ids: tuple[str, ...], jurisdictions: tuple[str, ...]
) -> None:
    """Say whose studies a person sees, and nobody else's, from their next request on."""
    grant = _grant(everything, site_ids, jurisdictions)
    with _changing(config_path) as connection:
        persons.set_scope(connection, name, grant, clock.now_ms(), _by())
    click.echo(f"{name} sees studies of {grant.words()}", err=True)


@user.command("reset-password")
@click.argument("name")
@secret_file_option
@_as_json
@click.pass_obj
def reset_password(config_path: Path, name: str, secret_file: Path | None, as_json: bool) -> None:
    """Give a person another password; their sessions and tokens end. Lets in again who was shut out."""
    password = passwords.new_password()
    hashed = persons.hashed(password, name)
    with _changing(config_path) as connection:
        persons.reset_password(connection, name, hashed, clock.now_ms(), _by())
        _hand_out(name, password, secret_file, as_json=as_json)


@user.command()
@click.argument("name")
@click.pass_obj
def revoke(config_path: Path, name: str) -> None:
    """Shut a person out, at once, with every session and token."""
    with _changing(config_path) as connection:
        persons.revoke(connection, name, clock.now_ms(), _by())
    click.echo(f"{name} may no longer log in", err=True)


@user.command("list")
@_as_json
@click.pass_obj
def list_(config_path: Path, as_json: bool) -> None:
    """List who may log in, what each may do, and whose studies each sees."""
    config = load_hub(config_path)
    with closing(Index.open(config)) as index, index.read() as connection:
        facts = [_facts(connection, config, one) for one in persons.every(connection)]
    if as_json:
        click.echo(msgspec.json.encode({"users": facts}).decode())
    elif facts:
        click.echo(terminal.table(("name", "role", "studies of", "last seen (UTC)", ""), [_row(one) for one in facts]))
    else:
        click.echo("Nobody may log in yet: appliance hub user add NAME --role admin --all", err=True)


class _Facts(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    role: str
    all_sites: bool
    sites: tuple[str, ...]
    jurisdictions: tuple[str, ...]
    created_at: int
    revoked_at: int | None
    seen_at: int | None
    sessions: int


def _facts(connection: Connection, config: HubConfig, one: Person) -> _Facts:
    grant = scopes.granted(connection, one.id)
    alive_ms = int(config.staff.session_hours * 3_600_000)
    count, seen_at = sessions.open_of(connection, one.id, alive_ms, clock.now_ms())
    return _Facts(
        name=one.name,
        role=one.role,
        all_sites=grant.everything,
        sites=grant.sites,
        jurisdictions=grant.jurisdictions,
        created_at=one.created_at,
        revoked_at=one.revoked_at,
        seen_at=seen_at,
        sessions=count,
    )


def _row(one: _Facts) -> tuple[str, ...]:
    seen = terminal.moment(one.seen_at, clock.now_ms()) if one.seen_at else "never"
    whose = Grant(one.all_sites, one.sites, one.jurisdictions).words()
    return one.name, one.role, whose, seen, "shut out" if one.revoked_at else ""


def _hand_out(name: str, password: str, secret_file: Path | None, *, as_json: bool) -> None:
    """Called inside the transaction: when the password can't be handed out, it is not the person's."""
    if secret_file:
        write_secret(secret_file, password)
        click.echo(f"The password of {name} is in {secret_file}", err=True)
    elif as_json:
        click.echo(msgspec.json.encode({"name": name, "password": password}).decode())
    else:
        click.echo(password)
        click.echo("It is shown only now; the hub keeps a hash of it.", err=True)
