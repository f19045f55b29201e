"""The hub is killed at any instruction: no offset was too large, no receipt a lie, and nothing is asked for twice."""

from __future__ import annotations

import hashlib
import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from support.hub import Client, RawRequest, add_site, tiny_parcel
from support.launcher import Launcher, Running
from support.processes import free_port, listens, wait_for, write_hub
from support.safekeeping import hub_leftovers, hub_problems

from appliance.config import load_hub

ROUNDS = 6


class Rig:
    """A hub as a process that can be killed and started again."""

    def __init__(self, directory: Path) -> None:
        self.data, self.port = directory / "hub", free_port()
        self.config = write_hub(directory / "hub.toml", self.data, self.port)
        self.client = Client(f"http://127.0.0.1:{self.port}", add_site(load_hub(self.config)))
        self._launcher = Launcher(directory / "logs", ("hub",))
        self._running: Running | None = None

    def start(self) -> None:
        self._running = self._launcher.start("hub", self.config)
        wait_for(lambda: listens(self.port), "the hub listens")

    def kill(self) -> None:
        assert self._running
        self._running.kill()

    def restart(self) -> None:
        self.kill()
        self.start()

    def offset_in_index(self) -> int:
        """Of the newest parcel, past the hub's own eyes."""
        with closing(sqlite3.connect(self.data / "hub.db", timeout=30)) as database:
            return int(database.execute("SELECT offset FROM parcel ORDER BY id DESC").fetchone()[0])

    def close(self) -> None:
        self._launcher.close()


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    made = Rig(tmp_path_factory.mktemp("rig"))
    made.start()
    yield made
    made.close()


def test_a_hub_killed_in_the_middle_of_an_upload_asks_for_no_byte_that_it_had_fsynced(rig: Rig):
    body = random.Random(5).randbytes(6 << 20)
    digest = hashlib.sha256(body).hexdigest()
    location = rig.client.create(len(body), digest).headers["location"]
    told = 0
    for round_ in range(ROUNDS):
        offset = rig.client.head(location).offset
        assert offset >= told
        request = RawRequest.patch(rig.client, location, offset, len(body) - offset)
        request.send(body[offset : offset + (900 << 10)])
        wait_for(lambda at=offset: rig.offset_in_index() > at, "some of it is safe")
        time.sleep(0.002 * round_)
        told = rig.offset_in_index()
        rig.restart()
        request.close()
        assert (rig.data / "uploads" / location.rpartition("/")[2]).read_bytes()[:told] == body[:told]
    offset = rig.client.head(location).offset
    assert offset >= told
    assert rig.client.patch(location, offset, body[offset:]).offset == len(body)
    rig.client.verdict(digest)
    (kept,) = (rig.data / "refused").glob(f"{location.rpartition('/')[2]}.*")
    assert hashlib.sha256(kept.read_bytes()).hexdigest() == digest


def test_a_hub_killed_while_it_unpacks_and_archives_gives_every_receipt_in_the_end(rig: Rig, tmp_path: Path):
    draw = random.Random(6)
    for round_ in range(ROUNDS):
        parcel = tiny_parcel(tmp_path / f"w{round_}", round_, range(30), space="7", side=48)
        digest = hashlib.sha256(parcel).hexdigest()
        location = rig.client.create(len(parcel), digest).headers["location"]
        assert rig.client.patch(location, 0, parcel).status == 204
        time.sleep(draw.uniform(0, 0.6))
        before = rig.client.verdict(digest, wait=0)
        rig.restart()
        if draw.random() < 0.5:
            time.sleep(draw.uniform(0, 0.3))
            rig.restart()
        assert rig.client.head(location).offset == len(parcel)
        after = rig.client.verdict(digest, wait=30)
        assert after["verdict"] == "verified"
        assert len(after["receipts"]) == 30
        if before["verdict"] == "verified":
            assert after == before
        held = {(receipt["sop_instance_uid"], receipt["digest"]) for receipt in after["receipts"]}
        assert hub_problems(rig.data, held) == []
        wait_for(lambda: not hub_leftovers(rig.data), f"nothing is left over: {hub_leftovers(rig.data)}")


def test_what_a_killed_hub_left_half_made_is_taken_away_at_the_start(rig: Rig):
    rig.kill()
    (rig.data / "uploads" / ("0" * 32)).write_bytes(b"a file without a row")
    (rig.data / "staging" / ("1" * 32)).mkdir()
    (rig.data / "staging" / ("1" * 32) / "00000.dcm").write_bytes(b"half")
    rig.start()
    assert rig.client.ask("GET", "/v1/hello").status == 200
    assert not (rig.data / "uploads" / ("0" * 32)).exists()
    assert list((rig.data / "staging").iterdir()) == []


def test_two_hubs_can_not_write_the_same_data(rig: Rig):
    second = rig._launcher.start("hub", rig.config)
    wait_for(lambda: second.exit_code() is not None, "the second one ended")
    assert second.exit_code() != 0
    assert "Another hub runs" in second.log.read_text()
    assert rig.client.ask("GET", "/v1/hello").status == 200
