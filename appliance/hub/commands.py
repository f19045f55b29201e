"""`appliance hub …`: run the hub; its sites; its studies; what comes on sticks."""

from __future__ import annotations

import signal
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Final

import click
import msgspec

from appliance import clock, terminal
from appliance.compress.pool import WorkerPool
from appliance.config import load_hub
from appliance.errors import DamagedFileError
from appliance.hub import export as exporting
from appliance.hub import verifying
from appliance.hub.archive import Retriever
from appliance.hub.audit import note
from appliance.hub.courier_commands import courier
from appliance.hub.early_commands import preview, wish
from appliance.hub.index import expected, studies, wishes
from appliance.hub.index.database import Index
from appliance.hub.objects.opening import opened
from appliance.hub.people.commands import user
from appliance.hub.site_commands import site
from appliance.hub.words import study_lines, study_table, wish_lines

_as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object; docs/reference/cli.md.")
_LIST_MAX: Final = 10_000


@click.group(invoke_without_command=True)
@click.pass_context
def hub(ctx: click.Context) -> None:
    """The hub: run it; its sites and studies. Without a verb it runs."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(run)


hub.add_command(site)
hub.add_command(user)
hub.add_command(courier)
hub.add_command(preview)
hub.add_command(wish)


@hub.command()
@click.pass_obj
def run(config_path: Path) -> None:
    """Run the hub until SIGTERM or SIGINT."""
    from appliance.hub import server

    config = load_hub(config_path)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    server.run(config, stop)


@hub.command("list")
@click.option("--site", "site_id", help="Only studies that this site sent.")
@click.option("--limit", type=click.IntRange(1, _LIST_MAX), default=50, show_default=True, help="At most so many.")
@_as_json
@click.pass_obj
def list_(config_path: Path, site_id: str | None, limit: int, as_json: bool) -> None:
    """List studies, the newest first; also those that are on their way."""
    with closing(Index.open(load_hub(config_path))) as index, index.write() as connection:
        found = expected.newest(connection, site_id, limit)
        note(connection, "list", detail=f"{len(found)} studies")
    if as_json:
        _print_json({"studies": found})
    elif found:
        click.echo(study_table(found, clock.now_ms()))
    else:
        click.echo("The hub has no studies yet.", err=True)


@hub.command()
@click.argument("study_uid")
@_as_json
@click.pass_obj
def show(config_path: Path, study_uid: str, as_json: bool) -> None:
    """Show one study: its series, what is on its way, and whether anything in it needs a look."""
    with closing(Index.open(load_hub(config_path))) as index, index.write() as connection:
        seen = expected.find(connection, study_uid)
        wished = wishes.of_study(connection, study_uid)
        note(connection, "show", seen.study_id, "" if seen.study_id else study_uid)
    if as_json:
        _print_json({"study": seen.facts, "series": seen.series, "wishes": wished})
        return
    for line in (*study_lines(seen.facts, seen.series, clock.now_ms()), *wish_lines(wished, clock.now_ms())):
        click.echo(line)


@hub.command()
@click.argument("study_uid")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option("--exact", "how", flag_value="exact", default="exact", help="The data sets as the modality sent them.")
@click.option("--transcoded", "how", flag_value="transcoded", help="JPEG 2000 Lossless where the pixels allow it.")
@_as_json
@click.pass_obj
def export(config_path: Path, study_uid: str, directory: Path, how: str, as_json: bool) -> None:
    """Write a study as DICOM files into DIRECTORY, which is to be empty or not there yet."""
    config = load_hub(config_path)
    with closing(Index.open(config)) as index:
        with index.read() as connection:
            study_id, facts = studies.find(connection, study_uid)
            series = studies.stored_of(connection, study_id)
        exporting.check_target(directory)
        with index.write() as connection:
            note(connection, "export", study_id, f"{how}, {facts.instances} instances")
        with (
            closing(opened(config)) as store,
            WorkerPool(config.compress) as pool,
            click.progressbar(length=facts.instances, label="Writing", file=sys.stderr) as bar,
        ):
            retriever = Retriever(store, pool)
            files = exporting.export_study(series, directory, exporting.As(how), retriever, bar.update)
    if as_json:
        _print_json({"study_instance_uid": facts.study_instance_uid, "form": how, "files": files})
    else:
        size = terminal.size(sum(file.bytes for file in files))
        click.echo(f"{len(files)} files, {size}, in {directory}")


@hub.command()
@_as_json
@click.pass_context
def verify(ctx: click.Context, as_json: bool) -> None:
    """Read the whole archive again and compare it with the index. Exit code 4 when something is damaged."""
    config = load_hub(ctx.obj)
    with closing(Index.open(config)) as index:
        with index.read() as connection:
            count = studies.count_stored(connection)
        with (
            closing(opened(config)) as store,
            click.progressbar(length=count, label="Reading", file=sys.stderr) as bar,
        ):
            found = verifying.verify_archive(index, store, bar.update)
    if as_json:
        _print_json(found)
    else:
        for one in found.damaged:
            click.echo(f"{one.sop_instance_uid}  {one.stored_key}: {one.problem}")
        click.echo(f"{found.instances} instances, {terminal.size(found.bytes)}: {len(found.damaged)} damaged")
    if found.damaged:
        ctx.exit(DamagedFileError.exit_code)


def _print_json(facts: object) -> None:
    click.echo(msgspec.json.encode(facts).decode())
