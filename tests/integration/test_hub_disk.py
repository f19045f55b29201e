"""The hub's disk gets full, a real small file system: nothing acknowledged is lost, and with room all goes on."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import tiny_instances
from support.hub import MIB, RawRequest, hub_config, pack, running_hub, source, tiny_parcel
from support.processes import wait_for
from support.safekeeping import hub_leftovers, hub_problems

from appliance.hub import ingest

pytestmark = pytest.mark.needs_root


@contextlib.contextmanager
def small_disk(path: Path, size: int) -> Iterator[Path]:
    """A file system of `size` bytes."""
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


class Ballast:
    """A file that takes up room."""

    def __init__(self, disk: Path) -> None:
        self._disk, self._path = disk, disk / "ballast"

    def leave(self, free: int) -> None:
        """Grows until `free` bytes are left."""
        facts = os.statvfs(self._disk)
        with self._path.open("ab") as file:
            for _ in range(max(0, (facts.f_bavail * facts.f_frsize - free) >> 16)):
                file.write(bytes(1 << 16))

    def drop(self) -> None:
        self._path.unlink(missing_ok=True)


def test_an_upload_stops_at_the_reserve_and_goes_on_when_there_is_room(tmp_path: Path):
    body = random.Random(1).randbytes(4 * MIB)
    digest = hashlib.sha256(body).hexdigest()
    with small_disk(tmp_path / "disk", 24 * MIB) as disk:
        ballast = Ballast(disk)
        with running_hub(hub_config(disk / "hub", reserve_bytes=2 * MIB)) as hub:
            client = hub.client()
            location = client.create(len(body), digest).headers["location"]
            client.patch(location, 0, body[:MIB])
            ballast.leave(3 * MIB)
            request = RawRequest.patch(client, location, MIB, 3 * MIB)
            with contextlib.suppress(ConnectionError):
                request.send(body[MIB:])
            assert request.status() == 507
            request.close()
            offset = client.head(location).offset
            assert MIB <= offset < len(body)
            assert client.create(MIB, "ab" * 32).status == 507
            ballast.drop()
            assert client.patch(location, offset, body[offset:]).offset == len(body)
            kept = hub.data / "uploads" / location.rpartition("/")[2]  # no room to unpack it: it waits for its check
            assert hashlib.sha256(kept.read_bytes()).hexdigest() == digest


def test_a_disk_that_is_full_to_the_last_byte_loses_nothing_that_was_acknowledged(tmp_path: Path):
    """Something else fills the disk past the hub's reserve: no write succeeds, neither of files nor of the index."""
    body = random.Random(2).randbytes(2 * MIB)
    digest = hashlib.sha256(body).hexdigest()
    with small_disk(tmp_path / "disk", 16 * MIB) as disk:
        ballast = Ballast(disk)
        with running_hub(hub_config(disk / "hub")) as hub:
            client = hub.client()
            location = client.create(len(body), digest).headers["location"]
            client.patch(location, 0, body[: MIB // 2])
            told = client.head(location).offset
            ballast.leave(0)
            refused = client.patch(location, told, body[told:]), client.create(100, "ab" * 32)
            assert {answer.status for answer in refused} == {507}
            assert client.head(location).offset == told
            ballast.drop()
            offset = client.head(location).offset
            assert offset >= told
            assert client.patch(location, offset, body[offset:]).offset == len(body)


def test_a_parcel_that_can_not_be_unpacked_for_want_of_room_waits_and_is_verified_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(ingest, "_USUAL_MORE", 4 * MIB)
    parcel = tiny_parcel(tmp_path / "work", 1, range(4), side=64)
    digest = hashlib.sha256(parcel).hexdigest()
    with small_disk(tmp_path / "disk", 24 * MIB) as disk:
        ballast = Ballast(disk)
        with running_hub(hub_config(disk / "hub")) as hub:
            client = hub.client()
            ballast.leave(3 * MIB)
            location = client.create(len(parcel), digest).headers["location"]
            assert client.patch(location, 0, parcel).status == 204
            assert client.verdict(digest, wait=1)["verdict"] == "checking"
            ballast.drop()
            wait_for(lambda: client.verdict(digest, wait=2)["verdict"] == "verified", "it is checked")
    said = capsys.readouterr().out
    assert said.count("too full to check parcels") == said.count("room to check parcels again") == 1
    assert "could not be checked" not in said  # it was not even tried, so it doesn't pause when there is room


def test_a_disk_that_gets_full_while_a_parcel_is_archived_gives_no_receipt_until_all_is_safe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Blank images: a small parcel whose archive needs all the room there is."""
    monkeypatch.setattr(ingest, "_USUAL_MORE", 0)
    blank = tiny_instances.make(1, 1, side=8).data[: -8 * 8 * 2 - 12]
    rows = tiny_instances.element(0x7FE00010, "OW", bytes(12 * MIB))
    (tmp_path / "work").mkdir()
    instance = tiny_instances.TinyInstance("2.25.1.1.1.1", blank + rows)
    parcel = pack(tmp_path / "work", [source(tmp_path / "work" / "1.dcm", instance)], "2.25.1.1")
    digest = hashlib.sha256(parcel).hexdigest()
    assert len(parcel) < MIB
    with small_disk(tmp_path / "disk", 24 * MIB) as disk:
        ballast = Ballast(disk)
        with running_hub(hub_config(disk / "hub")) as hub:
            client = hub.client()
            ballast.leave(6 * MIB)
            location = client.create(len(parcel), digest).headers["location"]
            assert client.patch(location, 0, parcel).status == 204
            early = client.verdict(digest, wait=2)
            assert (early["verdict"], early["receipts"]) == ("checking", [])
            ballast.drop()
            wait_for(lambda: client.verdict(digest, wait=2)["verdict"] == "verified", "it was tried again", 60)
            assert hub_problems(hub.data, {(instance.sop_instance_uid, instance.digest)}) == []
            assert hub_leftovers(hub.data) == []
