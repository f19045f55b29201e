"""Other people's tus clients against the hub's endpoint."""

from __future__ import annotations

import asyncio
import hashlib
import io
import random
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import aiotus
import pytest
import yarl
from support.hub import RunningHub, hub_config, running_hub, tiny_parcel
from support.processes import wait_for
from tusclient.client import TusClient


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    with running_hub(hub_config(tmp_path_factory.mktemp("hub"))) as running:
        yield running


@pytest.fixture
def parcel(tmp_path: Path) -> bytes:
    """Some hundred kilobytes, new for each test."""
    space = str(random.randrange(1 << 40))
    return tiny_parcel(tmp_path / "work", 1, range(6), space=space, side=128)


def metadata(parcel: bytes) -> dict[str, bytes | None]:
    return {"parcel": hashlib.sha256(parcel).hexdigest().encode(), "priority": b"stat"}


def headers(hub: RunningHub) -> dict[str, str]:
    return {"Authorization": f"Bearer {hub.secret}"}


def test_aiotus_uploads_a_parcel_that_is_then_verified(hub: RunningHub, parcel: bytes):
    location = asyncio.run(
        aiotus.upload(
            f"{hub.url}/v1/uploads", io.BytesIO(parcel), metadata(parcel), headers=headers(hub), chunksize=30_000
        )
    )
    assert location is not None
    assert hub.client().verdict(hashlib.sha256(parcel).hexdigest())["verdict"] == "verified"


def test_aiotus_reads_back_what_it_said_and_what_the_hub_can_do(hub: RunningHub, parcel: bytes):
    async def story() -> tuple[aiotus.ServerConfiguration, aiotus.Metadata]:
        async with aiohttp.ClientSession(headers=headers(hub)) as session:
            endpoint = f"{hub.url}/v1/uploads"
            offered = await aiotus.core.configuration(session, yarl.URL(endpoint))
            location = await aiotus.creation.create(session, yarl.URL(endpoint), io.BytesIO(parcel), metadata(parcel))
            return offered, await aiotus.core.metadata(session, location)

    offered, said = asyncio.run(story())
    assert offered.protocol_versions == ["1.0.0"]
    assert set(offered.protocol_extensions) == {"creation", "checksum", "termination", "expiration"}
    assert offered.max_size == hub.config.limits.parcel_bytes_max
    assert said == metadata(parcel)


@pytest.mark.parametrize("checksum", [False, True])
def test_tuspy_uploads_in_pieces_and_resumes_in_another_process(hub: RunningHub, parcel: bytes, checksum: bool):
    client = TusClient(f"{hub.url}/v1/uploads", headers=headers(hub))
    text = {key: (value or b"").decode() for key, value in metadata(parcel).items()}
    first = client.uploader(
        file_stream=io.BytesIO(parcel), chunk_size=len(parcel) // 4, metadata=text, upload_checksum=checksum
    )
    first.upload(stop_at=len(parcel) // 4)
    second = TusClient(f"{hub.url}/v1/uploads", headers=headers(hub)).uploader(
        file_stream=io.BytesIO(parcel), url=first.url, chunk_size=len(parcel) // 3, upload_checksum=checksum
    )
    assert second.offset == len(parcel) // 4
    second.upload()
    assert hub.client().verdict(text["parcel"])["verdict"] == "verified"


def test_a_client_that_says_nothing_about_its_file_may_upload_too(hub: RunningHub, parcel: bytes):
    uploader = TusClient(f"{hub.url}/v1/uploads", headers=headers(hub)).uploader(file_stream=io.BytesIO(parcel))
    uploader.upload()
    digest = hashlib.sha256(parcel).hexdigest()
    wait_for(lambda: hub.client().verdict(digest)["verdict"] == "verified", "the digest was computed at the hub")


def test_the_same_file_twice_without_a_digest_is_one_copy(hub: RunningHub, parcel: bytes):
    before = hub.rows("SELECT count(*) FROM instance")[0][0]
    for _ in range(2):
        TusClient(f"{hub.url}/v1/uploads", headers=headers(hub)).uploader(file_stream=io.BytesIO(parcel)).upload()
    wait_for(lambda: not hub.rows("SELECT 1 FROM parcel WHERE verdict = 'checking'"), "all are decided")
    assert hub.rows("SELECT count(*) FROM instance")[0][0] == before + 6
    digest = hashlib.sha256(parcel).hexdigest()
    assert len(hub.client().verdict(digest)["receipts"]) == 6
