"""`appliance hub preview` and `appliance hub wish`: a study before it is there."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import click
import msgspec

from appliance import clock
from appliance.audit.person import person
from appliance.config import load_hub
from appliance.errors import NotFoundError, UsageError
from appliance.hub import export as exporting
from appliance.hub.audit import note
from appliance.hub.index import expected, previews, wishes
from appliance.hub.index.database import Index
from appliance.hub.previews_out import write_previews
from appliance.model.notice import WishKind

_SERIES_MAX = 64
_as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object; docs/reference/cli.md.")


@click.command()
@click.argument("study_uid")
@click.option(
    "--out",
    "directory",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Where to write them: a directory that is empty or not there yet.",
)
@_as_json
@click.pass_obj
def preview(config_path: Path, study_uid: str, directory: Path, as_json: bool) -> None:
    """Write the small previews of a study that is on its way, as PNG files. They are not for diagnosis."""
    config = load_hub(config_path)
    with closing(Index.open(config)) as index:
        with index.write() as connection:
            seen = expected.find(connection, study_uid)
            found = previews.of_study(connection, study_uid)
            note(connection, "preview", seen.study_id, f"{study_uid}, {len(found)} previews")
        if not found:
            raise NotFoundError("There is no preview of this study", hint=_NO_PREVIEW)
        exporting.check_target(directory)
        files = write_previews(found, config.data, directory)
    if as_json:
        _print_json({"study_instance_uid": study_uid, "files": files})
    else:
        click.echo(f"{len(files)} previews, not for diagnosis, in {directory}")


_NO_PREVIEW = "They come with the first bytes of slow parcels; what is here already: `appliance hub export`."


@click.command()
@click.argument("study_uid")
@click.option("--series", default="", metavar="UID_OR_NUMBER", help="Only this series; without it the whole study.")
@click.option("--site", "site_id", help="Only of this site; without it of each that has the study.")
@click.option("--first", "kind", flag_value="first", help="Send it before others of its priority.")
@click.option("--enough", "kind", flag_value="enough", help="Send no more of it: the rest stays at the site for now.")
@click.option("--all", "kind", flag_value="all", help="Send the rest, too: takes the wishes before it back.")
@_as_json
@click.pass_obj
def wish(config_path: Path, study_uid: str, series: str, site_id: str | None, kind: str | None, as_json: bool) -> None:
    """Ask the site for a study or a series first, or for no more of it. It is there within a round trip of the line."""
    if kind is None:
        raise UsageError("Say what you wish", hint="Give one of --first, --enough and --all.")
    if len(series) > _SERIES_MAX:
        raise UsageError(f"A series is named by its UID or its number, of at most {_SERIES_MAX} characters")
    with closing(Index.open(load_hub(config_path))) as index, index.write() as connection:
        asked = [site for site in wishes.sites_of(connection, study_uid) if site_id in {None, site}]
        if not asked:
            raise NotFoundError("No site told of this study", hint="`appliance hub list` shows what is on its way.")
        seen = expected.find(connection, study_uid)
        numbers = [
            wishes.add(connection, site, study_uid, series=series, kind=WishKind(kind), by=person(), now=clock.now_ms())
            for site in asked
        ]
        note(connection, "wish", seen.study_id, f"{study_uid}, {kind}{', series ' + series if series else ''}")
    if as_json:
        facts = {"study_instance_uid": study_uid, "series": series, "kind": kind, "sites": asked, "wishes": numbers}
        _print_json(facts)
    else:
        click.echo(f"Asked {', '.join(asked)}.")


def _print_json(facts: object) -> None:
    click.echo(msgspec.json.encode(facts).decode())
