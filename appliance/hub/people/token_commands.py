"""`appliance hub user token …`: what viewers show instead of a password."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import click
import msgspec

from appliance import clock, terminal
from appliance.audit.person import person as who_works_here
from appliance.config import load_hub
from appliance.hub.index.database import Index
from appliance.hub.people import persons, tokens
from appliance.hub.people.mistakes import BadPersonError
from appliance.hub.people.tokens import Token
from appliance.hub.people.values import Actor
from appliance.hub.secret_files import secret_file_option, write_secret

_as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object; docs/reference/cli.md.")


@click.group()
def token() -> None:
    """Tokens for viewers: add, list, revoke. One sees what its person sees, and may look and pull."""


@token.command()
@click.argument("name")
@click.option("--label", required=True, help="Which viewer it is for, e.g. 'OHIF, reading room'.")
@click.option("--days", type=click.FloatRange(0, 3660, min_open=True), default=365.0, show_default=True)
@secret_file_option
@_as_json
@click.pass_obj
def add(config_path: Path, name: str, label: str, days: float, secret_file: Path | None, as_json: bool) -> None:
    """Make a token of this person and print it, once."""
    now = clock.now_ms()
    with closing(Index.open(load_hub(config_path))) as index, index.write() as connection:
        person = persons.find(connection, name)
        if person.revoked_at:
            raise BadPersonError("revoked", "This person is shut out.")
        made = tokens.add(connection, person.id, person.name, label, days, now, Actor(who_works_here(), "shell"))
        if secret_file:
            write_secret(secret_file, made)
            click.echo(f"The token is in {secret_file}", err=True)
        elif as_json:
            click.echo(msgspec.json.encode({"name": person.name, "label": label, "token": made}).decode())
        else:
            click.echo(made)
            click.echo("It is shown only now; the viewer sends it as `Authorization: Bearer TOKEN`.", err=True)


@token.command("list")
@click.argument("name", required=False)
@_as_json
@click.pass_obj
def list_(config_path: Path, name: str | None, as_json: bool) -> None:
    """List the tokens, of one person or of all."""
    with closing(Index.open(load_hub(config_path))) as index, index.read() as connection:
        found = tokens.every(connection, persons.find(connection, name).id if name else None)
    if as_json:
        click.echo(msgspec.json.encode({"tokens": found}).decode())
    elif found:
        head = ("number", "person", "for", "last used (UTC)", "ends (UTC)")
        click.echo(terminal.table(head, [_row(one, clock.now_ms()) for one in found], right=frozenset({0})))
    else:
        click.echo("There are no tokens", err=True)


def _row(one: Token, now: int) -> tuple[str, ...]:
    used = terminal.moment(one.used_at, now) if one.used_at else "never"
    ends = "ended" if one.ended_at else "over" if one.expires_at <= now else terminal.moment(one.expires_at, now)
    return str(one.id), one.person, one.label, used, ends


@token.command()
@click.argument("number", type=click.IntRange(1, 2**62))
@click.pass_obj
def revoke(config_path: Path, number: int) -> None:
    """End the token with this NUMBER, at once."""
    with closing(Index.open(load_hub(config_path))) as index, index.write() as connection:
        ended = tokens.end(connection, number, clock.now_ms(), Actor(who_works_here(), "shell"))
    click.echo(f"The token of {ended.person} for {ended.label} is ended", err=True)
