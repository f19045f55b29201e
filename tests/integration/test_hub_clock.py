"""A hub's clock is wrong, or the hub was away for long: no upload is too old for that."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from support.hub import Client, add_site
from support.launcher import Launcher
from support.processes import free_port, listens, wait_for, write_hub

from appliance.config import load_hub

DAY = 86_400_000


def uptime(data: Path) -> int:
    """As the hub saved it; it does so after it has cleaned."""
    with closing(sqlite3.connect(data / "hub.db", timeout=30)) as database:
        return int(database.execute("SELECT milliseconds FROM uptime").fetchone()[0])


@pytest.mark.parametrize("days", [-20_000, 3_000], ids=["in 1970", "years ahead, or after years in which it was off"])
def test_a_hub_that_starts_at_another_time_goes_on_at_the_byte(tmp_path: Path, days: int) -> None:
    data, port = tmp_path / "hub", free_port()
    config = write_hub(tmp_path / "hub.toml", data, port)
    client = Client(f"http://127.0.0.1:{port}", add_site(load_hub(config)))
    with Launcher(tmp_path / "logs", ("hub",)) as launcher:
        first = launcher.start("hub", config)
        wait_for(lambda: listens(port), "the hub listens")
        location = client.create(100, "ab" * 32).headers["location"]
        assert client.patch(location, 0, b"x" * 60).offset == 60
        assert first.stop() == 0
        saved = uptime(data)
        launcher.move_clock(days * DAY)
        launcher.start("hub", config)
        wait_for(lambda: uptime(data) > saved, "it has cleaned")
        assert client.head(location).offset == 60
        launcher.move_clock(2 * days * DAY)
        assert client.patch(location, 60, b"x" * 20).offset == 80
