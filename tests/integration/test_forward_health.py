"""The hub knows how its units are: backlog, line, disk, problems, and never whom they are about."""

from __future__ import annotations

import json
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from support.hub import Client, RunningHub
from support.processes import write_hub
from support.sending_unit import SendingUnit, noise

from appliance.cli import cli
from appliance.clock import now_ms
from appliance.hub.index import health
from appliance.hub.index.database import Index
from appliance.model.health import Health
from appliance.store_forward import link_use
from appliance.store_forward.actions import Actor
from appliance.store_forward.database import transaction


def told(hub: RunningHub) -> Health | None:
    with closing(Index.open(hub.config)) as index, index.read() as connection:
        found = health.every(connection).get("site-1")
    return found.health if found else None


def test_a_unit_tells_at_once_what_changed_and_no_name(tmp_path: Path, hub: RunningHub) -> None:
    unit = SendingUnit(tmp_path / "unit", hub.url, hub.secret)
    with unit.database() as connection, transaction(connection):
        link_use.pause(connection, Actor(name="Grace", role="shell"), now_ms(), until=None, stat_too=True)
    unit.add_parcel(1, [noise(1, 1, 20_000)], plain=True)
    with unit.database() as connection:
        connection.execute("UPDATE study SET patient_name = 'Phiri^Mary', patient_id = 'MRN-77'")
    with unit.forward():
        unit.await_true(lambda: (found := told(hub)) is not None and len(found.held) == 4, "the pause is told")
        first = told(hub)
        with unit.database() as connection, transaction(connection):
            link_use.resume(connection, Actor(name="Grace", role="shell"), now_ms())
        unit.await_true(lambda: (found := told(hub)) is not None and found.studies_undelivered == 0, "it went")
    assert first is not None
    assert (first.studies_undelivered, first.bytes_to_send > 20_000) == (1, True)
    assert first.disk_free > 0
    assert "process-silent" in first.problems  # only `forward` runs here
    with closing(Index.open(hub.config)) as index, index.read() as connection:
        text = str(health.every(connection))
    assert not [word for word in ("Phiri", "MRN-77", "Grace") if word in text]


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{", b'{"at": -1, "version": ""}', b'{"at": 1, "version": "1", "disk_free": 1e40}', b"\xff"],
)
def test_what_is_no_report_is_refused_and_changes_nothing(hub: RunningHub, body: bytes) -> None:
    client = Client(hub.url, hub.secret)
    good = msgspec.json.encode(Health(at=1, version="1"))
    assert client.ask("PUT", "/v1/health", good).status == 204
    assert client.ask("PUT", "/v1/health", body).status == 400
    assert client.ask("PUT", "/v1/health", b" " * 5000).status == 413
    assert told(hub) == Health(at=1, version="1")


def test_the_list_of_sites_says_how_each_unit_is(tmp_path: Path, hub: RunningHub) -> None:
    file = write_hub(tmp_path / "hub.toml", tmp_path / "hub", 8090)

    def listed(*options: str) -> str:
        done = CliRunner().invoke(cli, ["--config", str(file), "hub", "site", "list", *options])
        assert done.exit_code == 0, done.output
        return done.stdout

    site: Any = json.loads(listed("--json"))["sites"][0]
    assert (site["health"], site["health_at"]) == (None, None)
    now = int(time.time() * 1000)
    said = Health(
        at=now, version="1", studies_undelivered=3, oldest_undelivered_at=now - 7_200_000, problems=("disk-low",)
    )
    assert Client(hub.url, hub.secret).ask("PUT", "/v1/health", msgspec.json.encode(said)).status == 204
    site = json.loads(listed("--json"))["sites"][0]
    assert site["health"]["problems"] == ["disk-low"]
    assert site["health_at"] >= now
    assert "3 studies wait, the oldest for 2 h 00 min; disk-low" in listed()
