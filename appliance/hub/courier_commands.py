"""`appliance hub courier …`: the hub's key for sticks, and taking what units wrote onto one."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import click
import msgspec

from appliance import clock, terminal
from appliance.config import HubConfig, load_hub
from appliance.courier import keyfile
from appliance.courier.cipher import public_of
from appliance.courier.faults import CourierKeyError, StickError, StickRefusedError
from appliance.courier.stick import Stick, sites_on
from appliance.errors import UsageError
from appliance.hub.audit import note
from appliance.hub.courier import Brought, Importer, Opened, failed, hub_runs, open_list
from appliance.hub.index.database import Index, make_data_directory
from appliance.hub.words import printable

_as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object; docs/reference/cli.md.")
_WAIT_HELP: Final = "Seconds without a new verdict after which it no longer waits for the hub's check."
_WAITS: Final = 1  # exit codes: something still waits …
_WRONG: Final = 4  # … or is not accepted


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """What `appliance hub courier import --json` prints."""

    directory: str
    dry_run: bool
    at: int  # Unix ms
    hub_runs: bool  # a hub works here now, so that what was taken is checked
    passed_over: int  # names on the stick that are no site's
    sites: list[Brought]


@click.group()
def courier() -> None:
    """Studies that come on a stick: key, import."""


@courier.command()
@click.option("--new", is_flag=True, help="Make another key; sticks for the old ones can still be read.")
@_as_json
@click.pass_obj
def key(config_path: Path, new: bool, as_json: bool) -> None:
    """Print the hub's public key for sticks; it is made when there is none. It goes into each unit's file."""
    config = load_hub(config_path)
    path = _own_data(config) / keyfile.FILE_NAME
    public = keyfile.add_key(path) if new else public_of(keyfile.keys_of(path)[0])
    if as_json:
        click.echo(msgspec.json.encode({"hub_key": public, "secret_file": str(path)}).decode())
        return
    click.echo(public)
    click.echo(f"Put it into each unit's file: [courier] hub_key. Keep a copy of {path} in a safe place.", err=True)


@courier.command("import")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option("--dry-run", is_flag=True, help="Only say what is on the stick; take nothing.")
@click.option("--receipts/--no-receipts", default=True, show_default=True, help="Write receipts onto the stick.")
@click.option("--wait", "seconds", type=click.FloatRange(0, 86_400), default=600.0, show_default=True, help=_WAIT_HELP)
@_as_json
@click.pass_context
def import_(ctx: click.Context, directory: Path, dry_run: bool, receipts: bool, seconds: float, as_json: bool) -> None:
    """Take what is on the stick that is mounted at DIRECTORY, of every site that has something there.

    Each parcel goes the way of an upload. Run it again: what the hub has is passed over.

    Exit code 0: all of it is verified. 1: some waits for its check or for room. 4: some is not accepted.
    """
    config = load_hub(ctx.obj)
    _own_data(config)
    with closing(Index.open(config)) as index:
        keys = _keys(config)
        names, passed_over = sites_on(directory)
        work = _list if dry_run else _import
        found = [work(config, index, keys, directory, name, seconds, receipts, as_json) for name in names]
    facts = Imported(
        directory=str(directory),
        dry_run=dry_run,
        at=clock.now_ms(),
        hub_runs=hub_runs(config),
        passed_over=passed_over,
        sites=found,
    )
    _tell(facts, as_json=as_json)
    ctx.exit(_exit_code(facts))


def _own_data(config: HubConfig) -> Path:
    """The data directory. What is written there must be the hub's to read and remove. Raises UsageError."""
    make_data_directory(config.data)
    owner = config.data.stat().st_uid
    if owner != os.geteuid():
        hint = f"Run it as the user that owns it: sudo -u '#{owner}' appliance …"
        raise UsageError(f"{config.data} belongs to another user", hint=hint)
    return config.data


def _keys(config: HubConfig) -> list[str]:
    try:
        return keyfile.read_keys(config.data / keyfile.FILE_NAME)
    except FileNotFoundError as error:
        raise CourierKeyError("This hub has no key for sticks, so none can be for it") from error


def _list(
    _config: HubConfig, index: Index, keys: list[str], directory: Path, name: str, _s: float, _r: bool, as_json: bool
) -> Brought:
    """What the list of one site says; the studies are printed for a person, and that is in the trail."""
    try:
        with Stick(directory, name) as stick:
            opened = open_list(stick, name, index, keys)
    except (StickError, StickRefusedError) as error:
        return failed(name, error)
    if not as_json:
        with index.write() as connection:
            note(connection, "courier.list", detail=f"{name}: {len(opened.contents.studies)} studies")
        click.echo(_studies(opened))
    cover = opened.cover
    return Brought(site=name, written_at=cover.at, parcels=cover.parcels, bytes=cover.bytes)


def _studies(opened: Opened) -> str:
    sizes = {file.parcel: file.bytes for file in opened.cover.files}
    head = ("site", "priority", "patient", "study date", "description", "parcels", "size")
    rows = [
        (
            opened.site.id,
            study.priority,
            printable(study.patient_name),
            printable(study.study_date),
            printable(study.study_description),
            str(len(study.parcels)),
            terminal.size(sum(sizes.get(parcel, 0) for parcel in study.parcels)),
        )
        for study in opened.contents.studies
    ]
    return terminal.table(head, rows, right=frozenset({5, 6}))


def _import(
    config: HubConfig,
    index: Index,
    keys: list[str],
    directory: Path,
    name: str,
    seconds: float,
    receipts: bool,
    as_json: bool,
) -> Brought:
    """Takes what one site wrote, and writes the receipts."""
    try:
        with Stick(directory, name) as stick:
            opened = open_list(stick, name, index, keys)
            total = sum(file.file_bytes for file in opened.cover.files)
            with click.progressbar(length=total, label=f"Reading {name}", file=sys.stderr) as bar:
                importer = Importer(config, index, keys, bar.update)
                with importer.alone():
                    done = importer.bring(stick, opened, seconds)
            _await(importer, opened, done, seconds, as_json=as_json)
            if receipts:
                _write_receipts(importer, stick, opened, done)
    except (StickError, StickRefusedError) as error:
        done = failed(name, error)
    with index.write() as connection:
        detail = f"{name}: {done.new} parcels new, {done.known} known, {len(done.damaged)} damaged"
        note(connection, "courier.import", detail=detail if not done.error else f"{name}: not accepted")
    return done


def _await(importer: Importer, opened: Opened, done: Brought, seconds: float, *, as_json: bool) -> None:
    if not as_json:
        click.echo(f"{done.new} parcels are new here; the hub checks them.", err=True)
    importer.await_verdicts(opened, done, seconds)


def _write_receipts(importer: Importer, stick: Stick, opened: Opened, done: Brought) -> None:
    """A stick that can't be written is no reason to call the import failed: the line brings the receipts, too."""
    try:
        importer.write_receipts(stick, opened, done)
    except StickError as error:
        click.echo(f"No receipts were written onto the stick: {error.message}", err=True)


def _tell(facts: Imported, *, as_json: bool) -> None:
    if as_json:
        click.echo(msgspec.json.encode(facts).decode())
        return
    for one in facts.sites:
        for line in _lines(one, facts):
            click.echo(line)
    if not facts.sites:
        click.echo("No site has anything on this stick.", err=True)


def _lines(one: Brought, facts: Imported) -> Iterator[str]:
    if one.error:
        yield f"{one.site}: not accepted. {one.error}"
        return
    whole = f"{one.site}: {one.parcels} parcels, {terminal.size(one.bytes)}"
    if facts.dry_run:
        yield whole
        return
    yield f"{whole}: {one.new} new, {one.known} known; {one.verified} verified at this hub"
    if one.waiting:
        why = "" if facts.hub_runs else ": the hub does not run; start it, then run this again for the receipts"
        yield f"  {one.waiting} wait for their check{why}"
    if one.no_room:
        yield f"  {one.no_room} were not taken: the hub's disk or the site's quota has no room. Run this again later"
    for problem in [*one.damaged, *one.refused]:
        yield f"  {problem.parcel[:12]}…: {problem.refusal or 'damaged'}: {problem.reason}"
    if one.receipts:
        yield f"  receipts for {one.receipts} are on the stick: `appliance courier receipts` at the unit takes them"


def _exit_code(facts: Imported) -> int:
    if not all(one.is_clean for one in facts.sites):
        return _WRONG
    return _WAITS if any(one.waiting or one.no_room for one in facts.sites) else 0
