"""From a whole parcel to a verdict: what is good is archived byte for byte, what is not is refused with a word."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard
from support import hub as rig
from support import tiny_instances
from support.hub import RunningHub, add_site, hub_config, pack, running_hub, source, tiny_parcel
from support.processes import wait_for

from appliance.compress.parcel import MAGIC, Preamble


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    with running_hub(hub_config(tmp_path_factory.mktemp("hub"))) as running:
        yield running


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A parcel of three images."""
    return tiny_parcel(tmp_path_factory.mktemp("good") / "work", 1, range(3), space="100", side=32)


def sealed(body: bytes) -> bytes:
    """A parcel whose trailer is that of its bytes, whatever these are."""
    return body + hashlib.sha256(body).digest()


def test_what_is_archived_is_what_the_modality_sent(hub: RunningHub, good: bytes):
    verdict = hub.client().send(good)
    assert verdict["verdict"] == "verified"
    assert verdict["offset"] == len(good)
    for number, receipt in enumerate(verdict["receipts"]):
        sent = tiny_instances.make(1, number, space="100", side=32)
        assert (receipt["sop_instance_uid"], receipt["digest"]) == (sent.sop_instance_uid, sent.digest)
        (row,) = hub.rows("SELECT * FROM instance WHERE sop_instance_uid = ?", sent.sop_instance_uid)
        assert (hub.data / row["stored_key"]).read_bytes() == rig.part10(sent)
        assert row["calling_ae"] == "CT1"
    assert not list((hub.data / "uploads").iterdir())
    wait_for(lambda: not list((hub.data / "staging").iterdir()), "nothing stays in staging")


def test_asked_again_the_receipts_are_the_same(hub: RunningHub, good: bytes):
    first = hub.client().send(good)
    assert hub.client().verdict(first["parcel"]) == first
    for receipt in first["receipts"]:
        path = f"/v1/receipts/{receipt['sop_instance_uid']}?digest={receipt['digest']}"
        assert hub.client().ask("GET", path).json == receipt


def _flip(at: int) -> Callable[[bytes], bytes]:
    return lambda parcel: sealed(parcel[:at] + bytes([parcel[at] ^ 0xFF]) + parcel[at + 1 : -32])


@pytest.mark.parametrize(
    ("damage", "refusals"),
    [
        pytest.param(lambda parcel: parcel[:-1], {"digest"}, id="cut"),
        pytest.param(lambda parcel: parcel + b"x", {"digest"}, id="longer"),
        pytest.param(lambda parcel: parcel[:100] + b"?" + parcel[101:], {"digest"}, id="a changed byte"),
        pytest.param(lambda _: b"x", {"digest"}, id="one byte"),
        pytest.param(lambda _: sealed(b""), {"format"}, id="nothing, sealed"),
        pytest.param(lambda _: sealed(b"\0" * 5000), {"format"}, id="zeros, sealed"),
        pytest.param(lambda _: sealed(MAGIC), {"format"}, id="a name alone"),
        pytest.param(_flip(8), {"format"}, id="another version"),
        pytest.param(_flip(20), {"format"}, id="a wrong length"),
        pytest.param(_flip(90), {"format", "instance"}, id="a damaged head"),
        pytest.param(_flip(-60), {"format", "instance"}, id="a damaged block"),
        pytest.param(lambda parcel: sealed(parcel[:-33]), {"format"}, id="cut and sealed again"),
    ],
)
def test_a_damaged_parcel_is_refused_with_a_word_and_archives_nothing(
    hub: RunningHub, good: bytes, damage: Callable[[bytes], bytes], refusals: set[str]
):
    before = _objects(hub)
    verdict = hub.client().send(damage(good))
    assert (verdict["verdict"], verdict["receipts"]) == ("refused", [])
    assert verdict["refusal"] in refusals
    assert verdict["reason"]
    assert _objects(hub) == before
    wait_for(lambda: not list((hub.data / "staging").iterdir()), "nothing stays in staging")


def _objects(hub: RunningHub) -> set[Path]:
    return {path for path in (hub.data / "archive").rglob("*") if path.is_file()}


def test_bytes_that_are_not_those_of_the_stated_digest_are_refused(hub: RunningHub, good: bytes):
    client, claimed = hub.client(), "ef" * 32
    location = client.create(len(good), claimed).headers["location"]
    client.patch(location, 0, good)
    assert client.verdict(claimed)["refusal"] == "digest"


def test_a_parcel_that_inflates_without_end_costs_little(hub: RunningHub):
    manifest = b"{" + b" " * (15 << 20)
    head = zstandard.ZstdCompressor().compress(manifest + bytes(1 << 30))
    preamble = Preamble(len(head), len(manifest), len(manifest) + (1 << 30), 0).encode()
    assert len(head) < 1 << 20
    assert hub.client().send(sealed(preamble + head))["refusal"] == "format"


def test_a_parcel_that_claims_more_than_any_disk_is_refused(hub: RunningHub):
    head = zstandard.ZstdCompressor().compress(b"{}")
    for size in (1 << 40, (1 << 64) - 1):
        preamble = struct.pack("<8sHHLQQQQ32s", MAGIC, 1, 0, 0, len(head), 2, size, 0, bytes(32))
        assert hub.client().send(sealed(preamble + head))["refusal"] == "format"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"not a data set at all", id="no data set"),
        pytest.param(b"\xff" * 5000, id="ones"),
        pytest.param(tiny_instances.make(7, 1, instance_uid="../../../../etc/cron.d/x").data, id="a path as UID"),
        pytest.param(tiny_instances.make(7, 1, instance_uid="").data, id="no UID"),
        pytest.param(tiny_instances.make(7, 1, instance_uid="1" * 9000).data, id="a UID without end"),
        pytest.param(tiny_instances.make(8, 1).data, id="of another study"),
        pytest.param(tiny_instances.make(7, 2).data, id="another instance"),
    ],
)
def test_an_instance_that_is_not_what_its_parcel_says_is_refused(hub: RunningHub, tmp_path: Path, data: bytes):
    before = _objects(hub)
    instance = replace(tiny_instances.make(7, 1), data=data)
    parcel = pack(tmp_path / "work", [_written(tmp_path, instance)], "2.25.1.7")
    verdict = hub.client().send(parcel)
    assert (verdict["verdict"], verdict["refusal"]) == ("refused", "instance")
    assert _objects(hub) == before


def _written(directory: Path, instance: tiny_instances.TinyInstance, **values: object) -> rig.Source:
    (directory / "work").mkdir(exist_ok=True)
    return source(directory / "work" / f"{instance.digest}.dcm", instance, **values)


def test_names_of_a_hostile_patient_stay_data(hub: RunningHub, tmp_path: Path):
    name = "\x1b[2J'; DROP TABLE study; --<script>^../.."
    instance = tiny_instances.make(1, 1, space="200", name=name)
    parcel = pack(tmp_path / "work", [_written(tmp_path, instance)], "2.25.200.1")
    assert hub.client().send(parcel)["verdict"] == "verified"
    (row,) = hub.rows("SELECT patient_name FROM study WHERE study_instance_uid = '2.25.200.1'")
    assert "DROP TABLE study" in row["patient_name"]


def test_a_header_that_was_kept_serves_the_next_parcel_of_its_site_alone(hub: RunningHub, tmp_path: Path):
    first = _written(tmp_path, tiny_instances.make(1, 1, space="300", side=32), keep_header=True)
    data = tiny_instances.make(1, 1, space="300", side=32).data
    header = data[: -32 * 32 * 2]
    second = pack(
        tmp_path / "second", [_written(tmp_path, tiny_instances.make(1, 2, space="300"))], "2.25.300.1", header
    )
    too_soon = hub.client().send(second)
    assert (too_soon["verdict"], too_soon["refusal"]) == ("refused", "dictionary")
    assert hub.client().send(pack(tmp_path / "first", [first], "2.25.300.1"))["verdict"] == "verified"
    assert hub.client().send(second)["verdict"] == "verified"
    (row,) = hub.rows("SELECT * FROM header_dictionary WHERE digest = ?", hashlib.sha256(header).digest())
    assert (hub.data / row["stored_key"]).read_bytes() == header
    stranger = hub.client(add_site(hub.config, "stranger"))
    assert stranger.send(second)["refusal"] == "dictionary"


def test_a_header_that_the_disk_lost_is_one_that_the_hub_lacks(hub: RunningHub, tmp_path: Path):
    first = _written(tmp_path, tiny_instances.make(1, 1, space="302"), keep_header=True)
    assert hub.client().send(pack(tmp_path / "first", [first], "2.25.302.1"))["verdict"] == "verified"
    (row,) = hub.rows("SELECT stored_key FROM header_dictionary ORDER BY rowid DESC LIMIT 1")
    kept = hub.data / row["stored_key"]
    header = kept.read_bytes()
    away = kept.rename(tmp_path / "lost")
    second = _written(tmp_path, tiny_instances.make(1, 2, space="302"))
    verdict = hub.client().send(pack(tmp_path / "second", [second], "2.25.302.1", header))
    away.rename(kept)
    assert (verdict["verdict"], verdict["refusal"]) == ("refused", "dictionary")


def test_a_header_that_two_parcels_want_kept_is_one_object(hub: RunningHub, tmp_path: Path):
    sources = [
        _written(tmp_path, tiny_instances.make(1, number, space="301", instance_uid="2.25.301.1.1.1"), keep_header=True)
        for number in (1, 1)
    ]
    for folder in ("a", "b"):
        extra = _written(tmp_path, tiny_instances.make(1, 5 if folder == "a" else 6, space="301"))
        assert hub.client().send(pack(tmp_path / folder, [sources[0], extra], "2.25.301.1"))["verdict"] == "verified"
    known = {row[0] for row in hub.rows("SELECT stored_key FROM header_dictionary")}
    on_disk = {str(path.relative_to(hub.data)) for path in _objects(hub) if path.suffix == ".header"}
    assert on_disk == known


def test_the_same_images_by_two_parcels_at_once_are_one_copy(hub: RunningHub, tmp_path: Path):
    parcels = [tiny_parcel(tmp_path / f"w{n}", 1, [*range(8), 100 + n], space="400") for n in range(3)]
    clients = [hub.client(), hub.client(), hub.client(add_site(hub.config, "site-2"))]
    with ThreadPoolExecutor(3) as threads:
        verdicts = list(threads.map(lambda pair: pair[0].send(pair[1]), zip(clients, parcels, strict=True)))
    assert [verdict["verdict"] for verdict in verdicts] == ["verified"] * 3
    assert len({json.dumps(verdict["receipts"][:8]) for verdict in verdicts}) == 1
    rows = hub.rows("SELECT stored_key, conflict FROM instance WHERE sop_instance_uid LIKE '2.25.400.1.1.%'")
    assert len(rows) == 11
    assert not any(row["conflict"] for row in rows)
    known = {row[0] for row in hub.rows("SELECT stored_key FROM instance")}
    assert {str(path.relative_to(hub.data)) for path in _objects(hub) if path.suffix == ".dcm"} == known


def test_other_bytes_under_a_known_uid_are_kept_beside_and_flagged_to_the_unit(hub: RunningHub, tmp_path: Path):
    one, two = (tiny_instances.make(1, 1, space="500", name=name) for name in ("First^Name", "Second^Name"))
    verdicts = [
        hub.client().send(pack(tmp_path / instance.digest, [_written(tmp_path, instance)], "2.25.500.1"))
        for instance in (one, two)
    ]
    assert [verdict["receipts"][0]["conflict"] for verdict in verdicts] == [False, True]
    again = hub.client().verdict(verdicts[0]["parcel"])
    assert again["receipts"][0]["conflict"]
    rows = hub.rows("SELECT * FROM instance WHERE sop_instance_uid = ?", one.sop_instance_uid)
    kept = {(hub.data / row["stored_key"]).read_bytes() for row in rows}
    assert kept == {rig.part10(one), rig.part10(two)}
    (study,) = hub.rows("SELECT * FROM study WHERE study_instance_uid = '2.25.500.1'")
    assert (study["instances"], study["conflicts"], study["identity_conflict"]) == (2, 2, 1)


def test_a_question_with_a_wait_is_answered_as_soon_as_the_verdict_is_there(hub: RunningHub, tmp_path: Path):
    parcel = tiny_parcel(tmp_path / "work", 1, range(4), space="600")
    client, digest = hub.client(), hashlib.sha256(parcel).hexdigest()
    assert client.verdict(digest, wait=30)["verdict"] == "unknown"
    location = client.create(len(parcel), digest).headers["location"]
    client.patch(location, 0, parcel[:-1])
    partial = client.verdict(digest, wait=30)
    assert (partial["verdict"], partial["offset"]) == ("partial", len(parcel) - 1)
    client.patch(location, len(parcel) - 1, parcel[-1:])
    assert client.verdict(digest, wait=30)["verdict"] == "verified"


def test_a_check_that_the_disk_fails_is_tried_again_and_the_hub_goes_on(tmp_path: Path):
    parcel = tiny_parcel(tmp_path / "work", 1, range(2))
    with running_hub(hub_config(tmp_path / "hub")) as hub:
        archive = hub.data / "archive"
        archive.rmdir()
        archive.write_bytes(b"")  # what should be a directory is none: every write there fails
        client, digest = hub.client(), hashlib.sha256(parcel).hexdigest()
        location = client.create(len(parcel), digest).headers["location"]
        client.patch(location, 0, parcel)
        assert client.verdict(digest, wait=1)["verdict"] == "checking"
        assert client.ask("GET", "/v1/hello").status == 200
        archive.unlink()
        archive.mkdir()
        wait_for(lambda: client.verdict(digest, wait=2)["verdict"] == "verified", "it was tried again")
