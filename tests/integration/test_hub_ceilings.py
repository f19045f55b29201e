"""What one parcel may cost the hub, however it was made."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from support import tiny_instances
from support.hostile_jobs import pixels
from support.hub import RunningHub, add_site, hub_config, pack, running_hub, source, tiny_parcel
from support.images import CONTEXT, Image, data_set, write_source
from support.processes import wait_for

from appliance.compress.pool import WorkerPool
from appliance.config import Compress
from appliance.hub import checking
from appliance.hub.archive import Archiver, Form

IMAGE = Image(32, 32)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningHub]:
    """One that gives an instance three seconds, and whose decoders do what the pixels say."""
    monkeypatch.setattr(checking, "WorkerPool", partial(WorkerPool, jobs="support.hostile_jobs"))
    config = hub_config(tmp_path / "hub", compress=Compress(wall_seconds=3.0))
    with running_hub(config) as running:
        yield running


def slow_parcel(directory: Path, *, plain: bool) -> bytes:
    """Twenty images whose decoder takes a second for each; plain ones need none."""
    directory.mkdir()
    content = pixels("doze", "1.0", when="decode")
    sources = []
    for number in range(20):
        image = tiny_instances.make(1, number, side=32)
        slow = replace(image, data=image.data[: -len(content)] + content)
        sources.append(source(directory / f"{number}.dcm", slow, plain=plain))
    return pack(directory, sources, "2.25.1.1")


def test_a_parcel_that_takes_too_long_is_refused_kept_for_a_look_and_welcome_when_it_comes_plain(
    hub: RunningHub, tmp_path: Path
):
    verdict = hub.client().send(slow_parcel(tmp_path / "slow", plain=False))
    assert (verdict["verdict"], verdict["refusal"]) == ("refused", "instance")
    assert "longer" in verdict["reason"]
    assert len(list((hub.data / "refused").iterdir())) == 1
    assert not list((hub.data / "staging").iterdir())
    assert hub.client().send(slow_parcel(tmp_path / "plain", plain=True))["verdict"] == "verified"


def test_what_cannot_be_turned_to_jpeg_2000_in_time_stays_as_received(tmp_path: Path):
    content = bytes(range(256)) * 8
    given = write_source(tmp_path / "1.dcm", data_set(IMAGE, content), number=1)
    staging = tmp_path / "staging"
    staging.mkdir()
    with WorkerPool(Compress()) as pool:
        pool.pack([given], CONTEXT, None, tmp_path / "a.parcel")
        (item,) = pool.unpack(tmp_path / "a.parcel", lambda _: None, staging).instances
        archiver = Archiver("jpeg2000", pool)
        late = archiver.prepare(item, staging, until=time.monotonic())
        assert (late.form, late.file) == (Form.AS_RECEIVED, item.file)
        assert pool.transcode(item.file, staging / "x.j2k", until=time.monotonic()) is None
        assert archiver.prepare(item, staging, until=math.inf).form is Form.JPEG2000


def test_a_site_that_has_piled_up_parcels_delays_another_by_one_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    config = hub_config(tmp_path / "hub")
    with monkeypatch.context() as patched, running_hub(config) as hub:
        patched.setattr(checking.Checking, "_next", nothing_to_check)
        other = hub.client(add_site(config, "site-2"))
        for client, study in [(hub.client(), number) for number in range(6)] + [(other, 6), (other, 7)]:
            parcel = tiny_parcel(tmp_path / str(study), study, [1])
            created = client.create(len(parcel), hashlib.sha256(parcel).hexdigest())
            assert client.patch(created.headers["location"], 0, parcel).status == 204
        secret = hub.secret
    with running_hub(config, secret) as hub:
        wait_for(lambda: not hub.rows("SELECT 1 FROM parcel WHERE verdict = 'checking'"), "all are checked")
        order = [row[0] for row in hub.rows("SELECT site_id FROM parcel ORDER BY decided_at")]
    assert order == ["site-1", "site-2", "site-1", "site-2"] + ["site-1"] * 4


async def nothing_to_check(_checking: checking.Checking) -> None:
    """A hub that does not come to its checks."""
