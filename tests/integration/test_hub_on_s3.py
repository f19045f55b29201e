"""A whole hub whose archive is in a bucket: servers that die, refuse, or have leftovers cost time and no instance."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from support import tiny_instances
from support.hub import Client, hub_config, running_hub, tiny_parcel
from support.processes import wait_for, write_hub
from support.s3_server import BUCKET, PREFIX, S3Server, s3_server

from appliance.cli import cli
from appliance.config import HubConfig
from appliance.errors import StoreRefusedError
from appliance.hub.objects.keys import key_of
from appliance.hub.server import Hub


@pytest.fixture
def server(tmp_path: Path) -> Iterator[S3Server]:
    with s3_server("localbucket", tmp_path / "server") as running:
        yield running


def on(server: S3Server, data: Path, **values: Any) -> HubConfig:
    return msgspec.structs.replace(hub_config(data, **values), objects=server.objects())


def objects_of(server: S3Server) -> list[str]:
    """Names of what parcels brought, without the hub's mark."""
    return [name for name in server.names() if "/archive/" in name]


def run(config: HubConfig, file: Path, *words: str, exit_code: int = 0) -> Any:
    """What a verb of `appliance hub` prints with --json."""
    keys = {f"objects__{name}": getattr(config.objects, name) for name in ("url", "endpoint", "key_file")}
    write_hub(file, config.data, 0, **keys)
    done = CliRunner().invoke(cli, ["--config", str(file), "hub", *words, "--json"])
    assert done.exit_code == exit_code, done.output
    return json.loads(done.stdout)


def await_verified(client: Client, digest: str) -> None:
    """A check that could not be done is tried again, after a pause that grows to half a minute."""
    wait_for(lambda: client.verdict(digest)["verdict"] == "verified", "the parcel is verified", 120)


@pytest.mark.parametrize("form", ["as-received", "jpeg2000"])
def test_what_is_verified_is_in_the_bucket_alone_and_comes_out_as_it_was(tmp_path: Path, server: S3Server, form: str):
    config = on(server, tmp_path / "hub", archive=form)
    with running_hub(config) as hub:
        assert hub.client().send(tiny_parcel(tmp_path / "work", 1, [1, 2, 3]))["verdict"] == "verified"
    assert not [path for path in (config.data / "archive").rglob("*") if path.is_file()]
    assert all(name.startswith(f"{PREFIX}/archive/") for name in objects_of(server))
    exported = run(config, tmp_path / "hub.toml", "export", "2.25.1.1", str(tmp_path / "out"))
    sent = {hashlib.sha256(tiny_instances.make(1, number).data).hexdigest() for number in (1, 2, 3)}
    assert {file["digest"] for file in exported["files"]} == sent
    for file in exported["files"]:
        content = (tmp_path / "out" / file["file"]).read_bytes()
        assert any(content.endswith(tiny_instances.make(1, number).data) for number in (1, 2, 3))
    verified = run(config, tmp_path / "hub.toml", "verify")
    assert (verified["instances"], verified["damaged"]) == (3, [])


def test_an_object_that_the_server_lost_is_named_by_verify(tmp_path: Path, server: S3Server):
    config = on(server, tmp_path / "hub")
    with running_hub(config) as hub:
        hub.client().send(tiny_parcel(tmp_path / "work", 1, [1, 2]))
    lost = next(name for name in objects_of(server) if name.endswith(".dcm"))
    server.client().delete_object(Bucket=BUCKET, Key=lost)
    damaged = run(config, tmp_path / "hub.toml", "verify", exit_code=4)["damaged"]
    assert [one["stored_key"] for one in damaged] == [lost.removeprefix(f"{PREFIX}/")]
    assert "The archive lacks" in damaged[0]["problem"]


def test_while_the_server_is_dead_parcels_come_and_wait_and_each_is_filed_once_when_it_is_back(
    tmp_path: Path, server: S3Server
):
    parcels = [tiny_parcel(tmp_path / "work", study, [1, 2]) for study in (1, 2)]
    with running_hub(on(server, tmp_path / "hub")) as hub:
        client = hub.client()
        server.kill()
        for parcel in parcels:
            location = client.create(len(parcel), hashlib.sha256(parcel).hexdigest()).headers["location"]
            assert client.patch(location, 0, parcel).status == 204
            assert client.verdict(hashlib.sha256(parcel).hexdigest(), wait=0)["verdict"] == "checking"
        server.start()
        for parcel in parcels:
            await_verified(client, hashlib.sha256(parcel).hexdigest())
        assert hub.rows("SELECT count(*) AS n FROM instance")[0]["n"] == 4
        keys = {row["stored_key"] for row in hub.rows("SELECT stored_key FROM instance")}
    assert {f"{PREFIX}/{key}" for key in keys} == {name for name in objects_of(server) if name.endswith(".dcm")}


def test_a_hub_starts_while_the_server_is_away(tmp_path: Path, server: S3Server):
    server.kill()
    with running_hub(on(server, tmp_path / "hub")) as hub:
        assert hub.client().ask("OPTIONS", "/v1/uploads").status == 204
        server.start()
        assert hub.client().send(tiny_parcel(tmp_path / "work", 1, [1]))["verdict"] == "verified"


def test_keys_that_are_refused_end_the_start_and_are_in_no_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    with s3_server("moto", tmp_path / "server") as server:
        server.demand_proof()
        objects = server.objects((server.keys[0], "a-wrong-secret"))
        config = msgspec.structs.replace(hub_config(tmp_path / "hub"), objects=objects)
        with pytest.raises(StoreRefusedError, match="SignatureDoesNotMatch"):
            asyncio.run(Hub(config).start())
    printed = capfd.readouterr()
    assert "a-wrong-secret" not in printed.out + printed.err
    assert server.keys[0] not in printed.out + printed.err


@pytest.mark.parametrize("where", ["bucket", "directory"])
def test_other_bytes_that_a_try_before_left_are_taken_away_and_the_parcel_is_filed(
    tmp_path: Path, server: S3Server, where: str
):
    config = on(server, tmp_path / "hub") if where == "bucket" else hub_config(tmp_path / "hub")
    parcel = tiny_parcel(tmp_path / "work", 1, [1, 2])
    digest = hashlib.sha256(parcel).hexdigest()
    with running_hub(config) as hub:
        client = hub.client()
        location = client.create(len(parcel), digest).headers["location"]
        key = key_of(location.rpartition("/")[2], 1, "dcm")
        leave(server, config, key, b"what another codec made")
        client.patch(location, 0, parcel)
        await_verified(client, digest)
    assert run(config, tmp_path / "hub.toml", "verify")["damaged"] == []


def leave(server: S3Server, config: HubConfig, key: str, content: bytes) -> None:
    if config.objects.url:
        server.client().put_object(Bucket=BUCKET, Key=f"{PREFIX}/{key}", Body=content)
        return
    path = config.data / key
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
