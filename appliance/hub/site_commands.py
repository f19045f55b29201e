"""`appliance hub site …`: which sites may upload."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path
from typing import Final

import click
import msgspec
import sqlalchemy.exc

from appliance import clock, terminal
from appliance.config import load_hub
from appliance.errors import UsageError
from appliance.hub.audit import note
from appliance.hub.credentials import new_secret
from appliance.hub.index import health, jurisdictions, sites
from appliance.hub.index.database import Index
from appliance.hub.secret_files import secret_file_option, write_secret

_TOLD_LONG_AGO_MS: Final = 180_000
_SITE_ID: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}", re.ASCII)
_as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object; docs/reference/cli.md.")


@click.group()
def site() -> None:
    """Sites that may upload: add, list, renew, revoke, set-jurisdictions."""


@site.command()
@click.argument("site_id", metavar="ID")
@click.option("--name", help="Name as people say it; without it the id.")
@secret_file_option
@_as_json
@click.pass_obj
def add(config_path: Path, site_id: str, name: str | None, secret_file: Path | None, as_json: bool) -> None:
    """Add a site and print its secret, once."""
    if not _SITE_ID.fullmatch(site_id):
        raise UsageError("The ID of a site is made of a-z, 0-9 and '-', at most 32, and begins with a letter or digit")
    if name is not None and len(name) > 200:
        raise UsageError("The name of a site has at most 200 characters")
    secret, digest = new_secret(site_id)
    with closing(Index.open(load_hub(config_path))) as index:
        try:
            with index.write() as connection:
                sites.add(connection, site_id, name or site_id, digest, clock.now_ms())
                note(connection, "site.add", detail=site_id)
                _hand_out(site_id, secret, secret_file, as_json=as_json)
        except sqlalchemy.exc.IntegrityError as error:
            hint = f"`appliance hub site renew {site_id}` gives it another secret."
            raise UsageError(f"There is a site {site_id!r} already", hint=hint) from error


@site.command()
@click.argument("site_id", metavar="ID")
@secret_file_option
@_as_json
@click.pass_obj
def renew(config_path: Path, site_id: str, secret_file: Path | None, as_json: bool) -> None:
    """Give a site another secret; the old one ends at once. A revoked site is let in again."""
    secret, digest = new_secret(site_id)
    with closing(Index.open(load_hub(config_path))) as index, index.write() as connection:
        sites.renew(connection, site_id, digest, clock.now_ms())
        note(connection, "site.renew", detail=site_id)
        _hand_out(site_id, secret, secret_file, as_json=as_json)


@site.command()
@click.argument("site_id", metavar="ID")
@click.pass_obj
def revoke(config_path: Path, site_id: str) -> None:
    """Shut a site out, at once and in the middle of a transfer. What it sent stays."""
    with closing(Index.open(load_hub(config_path))) as index, index.write() as connection:
        sites.revoke(connection, site_id, clock.now_ms())
        note(connection, "site.revoke", detail=site_id)
    click.echo(f"{site_id} may no longer upload", err=True)


@site.command("set-jurisdictions")
@click.argument("site_id", metavar="ID")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.pass_obj
def set_jurisdictions(config_path: Path, site_id: str, names: tuple[str, ...]) -> None:
    """Say which jurisdictions a site is in; without a NAME in none. People may be let see all sites of one."""
    with closing(Index.open(load_hub(config_path))) as index, index.write() as connection:
        jurisdictions.set_of(connection, site_id, names)
        note(connection, "site.set-jurisdictions", detail=f"{site_id}: {', '.join(sorted(set(names))) or 'none'}")
    click.echo(f"{site_id} is in {', '.join(sorted(set(names))) or 'no jurisdiction'}", err=True)


@site.command("list")
@_as_json
@click.pass_obj
def list_(config_path: Path, as_json: bool) -> None:
    """List the sites, and when each was last heard of."""
    with closing(Index.open(load_hub(config_path))) as index, index.read() as connection:
        found, told = sites.every(connection), health.every(connection)
        carried = jurisdictions.of_sites(connection)
    if as_json:
        shown = ("id", "name", "created_at", "renewed_at", "revoked_at", "seen_at")
        facts = [
            {key: getattr(one, key) for key in shown}
            | {"jurisdictions": carried.get(one.id, [])}
            | _health_facts(told.get(one.id))
            for one in found
        ]
        click.echo(msgspec.json.encode({"sites": facts}).decode())
    elif found:
        now = clock.now_ms()
        rows = [(one.id, one.name, _seen(one, now), _needs(one, told.get(one.id), now)) for one in found]
        click.echo(terminal.table(("site", "name", "last seen (UTC)", ""), rows))
    else:
        click.echo("No site may upload yet: appliance hub site add ID --name NAME", err=True)


def _seen(one: sites.Site, now: int) -> str:
    return terminal.moment(one.seen_at, now) if one.seen_at else "never"


def _health_facts(told: health.Told | None) -> dict[str, object]:
    return {"health_at": told.told_at if told else None, "health": told.health if told else None}


def _needs(one: sites.Site, told: health.Told | None, now: int) -> str:
    """What waits there and what is wrong, as its unit told last."""
    if one.revoked_at:
        return "revoked"
    if told is None:
        return ""
    said, oldest = told.health, told.health.oldest_undelivered_at
    waits = f"{said.studies_undelivered} studies wait" if said.studies_undelivered else ""
    if waits and oldest is not None:
        waits += f", the oldest for {terminal.span((said.at - oldest) / 1000)}"
    old = f"told {terminal.span((now - told.told_at) / 1000)} ago" if now - told.told_at > _TOLD_LONG_AGO_MS else ""
    return "; ".join(part for part in (waits, ", ".join(said.problems), old) if part)


def _hand_out(site_id: str, secret: str, secret_file: Path | None, *, as_json: bool) -> None:
    """Called inside the transaction: when the secret can't be handed out, it is not the site's."""
    if secret_file:
        write_secret(secret_file, secret)
        click.echo(f"The secret of {site_id} is in {secret_file}", err=True)
    elif as_json:
        click.echo(msgspec.json.encode({"site": site_id, "secret": secret}).decode())
    else:
        click.echo(secret)
        click.echo("It is shown only now; the hub keeps a hash of it. Put it into the unit's secret file.", err=True)
