"""`appliance clock …`: the time that this box keeps for its next start."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from appliance import clock as wall
from appliance.config import load_unit
from appliance.link import last_time


@click.group()
def clock() -> None:
    """The time that this box keeps for its next start."""


@clock.command()
@click.pass_obj
def restore(config_path: Path) -> None:
    """Set the clock forward to the time that was kept; never back.

    For a box without a battery: run it at boot, before the tunnel, as root. WireGuard takes only a rising time.
    Exit code 0: the clock is at that time or after it, or none was kept yet. 3: it can't be set.
    """
    kept = last_time.restore(load_unit(config_path).data, wall.now_ms())
    if kept is None:
        click.echo("The clock is not behind the time that was kept; nothing was changed.", err=True)
    else:
        click.echo(f"The clock was behind; it is now {datetime.fromtimestamp(kept / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC.")
