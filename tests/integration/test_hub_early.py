"""A study before it is at the hub: its notice, its previews out of a part of an upload, and the hub's wishes."""

from __future__ import annotations

import hashlib
import itertools
import json
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from click.testing import CliRunner, Result
from support import data
from support.hub import Client, RunningHub, add_site, hub_config, pack, running_hub
from support.images import source_of
from support.processes import wait_for, write_hub

from appliance.cli import cli
from appliance.clock import now_ms
from appliance.compress.parcel import read_preamble
from appliance.hub.cleaning import Cleaning
from appliance.hub.index import notices
from appliance.hub.previewing import KEPT_DAYS, NOTICE_DAYS, Previewing

DAY = 86_400_000
NOW = now_ms()


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    config = hub_config(tmp_path_factory.mktemp("hub"), requests_max=8)
    with running_hub(config) as running:
        yield running


@pytest.fixture
def client(hub: RunningHub) -> Client:
    return hub.client(add_site(hub.config, f"site-{random.randrange(1 << 60):x}"))


def verb(hub: RunningHub, *arguments: str) -> Result:
    config = write_hub(hub.data.parent / f"{hub.data.name}.toml", hub.data, 0)
    return CliRunner().invoke(cli, ["--config", str(config), "hub", *arguments])


def printed(hub: RunningHub, *arguments: str) -> Any:
    result = verb(hub, *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def a_uid() -> str:
    return f"1.2.{random.randrange(1 << 60)}"


def a_notice(uid: str, **changed: Any) -> dict[str, Any]:
    usual = {
        "study_instance_uid": uid,
        "patient_name": "Banda^Grace",
        "patient_id": "MZ-7",
        "priority": "urgent",
        "question": "Bleeding?",
        "first_received_at": NOW - 60_000,
        "last_received_at": NOW,
        "instances": 140,
        "series": [{"series_instance_uid": f"{uid}.1", "modality": "CT", "series_number": "3", "instances": 140}],
        "eta": [NOW + 600_000, NOW + 1_200_000],
    }
    return usual | changed


def tell(client: Client, uid: str, notice: Any) -> int:
    body = notice if isinstance(notice, bytes) else json.dumps(notice).encode()
    return client.ask("PUT", f"/v1/studies/{uid}", body, Content_Type="application/json").status


# --------------------------------------------------------------------- notices


def test_a_study_is_listed_as_soon_as_its_site_tells_of_it(hub: RunningHub, client: Client):
    uid = a_uid()
    assert tell(client, uid, a_notice(uid)) == 204
    listed = next(one for one in printed(hub, "list")["studies"] if one["study_instance_uid"] == uid)
    assert (listed["instances"], listed["announced"], listed["priority"]) == (0, 140, "urgent")
    assert listed["expected"] == [NOW + 600_000, NOW + 1_200_000]
    shown = printed(hub, "show", uid)
    assert shown["study"]["question"] == "Bleeding?"
    assert [(one["series_number"], one["announced"], one["instances"]) for one in shown["series"]] == [("3", 140, [])]
    words = verb(hub, "show", uid).output
    for word in ("Banda^Grace", "0 of 140 images", "Expected:", "between", "Bleeding?"):
        assert word in words
    assert "0 of 140" in verb(hub, "list").output


def test_a_later_notice_takes_the_place_of_the_first(hub: RunningHub, client: Client):
    uid = a_uid()
    tell(client, uid, a_notice(uid, instances=10))
    tell(client, uid, a_notice(uid, instances=20, delivered=20))
    study = printed(hub, "show", uid)["study"]
    assert (study["announced"], study["expected"]) == (20, None)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"series":' * 20_000,
        json.dumps(a_notice("1.2.9")).encode(),
        json.dumps(a_notice("1.2", priority="whenever")).encode(),
        json.dumps(a_notice("1.2", instances=-1)).encode(),
        json.dumps(a_notice("1.2", eta=[0, 1 << 60])).encode(),
        json.dumps(a_notice("1.2", patient_name="x" * 257)).encode(),
        json.dumps(a_notice("1.2", series=[{"series_instance_uid": "../1"}])).encode(),
        json.dumps(a_notice("1.2", series=[{"series_instance_uid": "1.2"}] * 501)).encode(),
    ],
    ids=["empty", "list", "bytes", "deep", "other", "priority", "negative", "year", "long", "uid", "many"],
)
def test_what_is_no_notice_of_this_study_is_refused(hub: RunningHub, client: Client, body: bytes):
    assert tell(client, "1.2", body) == 400
    assert verb(hub, "show", "1.2").exit_code == 6


def test_a_notice_that_is_too_large_or_without_a_length_is_refused(client: Client):
    assert tell(client, "1.2", b" " * (257 << 10)) == 413
    assert client.ask("PUT", "/v1/studies/..%2F1", b"{}").status == 404


def test_a_site_tells_of_its_own_studies_and_needs_its_secret(hub: RunningHub, client: Client):
    uid = a_uid()
    other = hub.client(add_site(hub.config, f"other-{random.randrange(1 << 60):x}"))
    tell(client, uid, a_notice(uid, instances=5))
    tell(other, uid, a_notice(uid, instances=9, patient_name="Other"))
    shown = printed(hub, "show", uid)["study"]
    assert len(shown["sites"]) == 2
    assert shown["announced"] == 9
    assert tell(Client(hub.url, "site-1.wrong"), uid, a_notice(uid)) == 401


def test_notices_of_a_site_have_a_ceiling(hub: RunningHub, client: Client, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(notices, "OF_SITE_MAX", 3)
    clock = itertools.count(1)
    monkeypatch.setattr("appliance.hub.notices.now_ms", lambda: next(clock))
    uids = [a_uid() for _ in range(5)]
    for uid in uids:
        assert tell(client, uid, a_notice(uid)) == 204
    query = "SELECT study_instance_uid FROM notice WHERE site_id = ? ORDER BY told_at"
    told = hub.rows(query, client.secret.partition(".")[0])
    assert [row[0] for row in told] == uids[2:]


# --------------------------------------------------------------------- previews


@pytest.fixture(scope="module")
def parcel(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, bytes]:
    """A radiograph: its study's UID, and the parcel that holds it."""
    path = data.file("RG3_UNCI.dcm")
    study = str(pydicom.dcmread(path, specific_tags=["StudyInstanceUID"]).StudyInstanceUID)
    return study, pack(tmp_path_factory.mktemp("parcels"), [source_of(path)], study)


def begin(client: Client, parcel: bytes, count: int) -> str:
    location = client.create(len(parcel), hashlib.sha256(parcel).hexdigest()).headers["location"]
    assert client.patch(location, 0, parcel[:count]).status == 204
    return location


def drawn(hub: RunningHub, location: str) -> list[Any]:
    return hub.rows("SELECT * FROM preview WHERE parcel_name = ?", location.rpartition("/")[2])


def test_a_preview_is_there_with_the_first_bytes_of_an_upload(
    hub: RunningHub, client: Client, parcel: tuple[str, bytes], tmp_path: Path
):
    study, content = parcel
    preview_bytes = read_preamble(content, len(content)).preview_bytes
    assert preview_bytes < len(content) / 10
    tell(client, study, a_notice(study, instances=1))
    location = begin(client, content, preview_bytes)
    wait_for(lambda: drawn(hub, location), "its preview is drawn")
    assert printed(hub, "show", study)["study"]["previews"] == 1
    assert (
        hub.rows("SELECT * FROM instance JOIN study ON study.id = study_id WHERE study_instance_uid = ?", study) == []
    )

    found = printed(hub, "preview", study, "--out", str(tmp_path / "out"))["files"]
    assert [one["file"] for one in found] == ["series-001/0001-preview-not-for-diagnosis.png"]
    png = (tmp_path / "out" / found[0]["file"]).read_bytes()
    assert png.startswith(b"\x89PNG")
    assert b"Preview, not for diagnosis" in png
    assert verb(hub, "preview", study, "--out", str(tmp_path / "out")).exit_code == 2  # never written over

    assert client.patch(location, preview_bytes, content[preview_bytes:]).status == 204
    assert client.verdict(hashlib.sha256(content).hexdigest())["verdict"] == "verified"
    shown = printed(hub, "show", study)["study"]
    assert (shown["instances"], shown["announced"], shown["previews"]) == (1, 1, 1)


def test_bytes_that_come_slowly_are_looked_at_when_it_is_worth_it(
    hub: RunningHub, client: Client, parcel: tuple[str, bytes]
):
    content = parcel[1][:-1] + b"?"  # another parcel, of which nothing proves the part
    location = begin(client, content, 79)
    preamble = read_preamble(content, len(content))
    name = location.rpartition("/")[2]

    def wanted(count: int) -> bool:
        rows = hub.rows("SELECT wanted FROM part WHERE parcel_name = ?", name)
        return [row[0] for row in rows] == [count]

    wait_for(lambda: wanted(80), "it wants the preamble")
    client.patch(location, 79, content[79:90])
    wait_for(lambda: wanted(preamble.front_at), "it wants the head")
    answer = client.patch(location, 90, content[90 : preamble.preview_bytes - 1])
    assert answer.status == 204, answer
    wait_for(lambda: wanted(preamble.preview_bytes), "it wants the front")
    assert drawn(hub, location) == []
    client.patch(location, preamble.preview_bytes - 1, content[preamble.preview_bytes - 1 : preamble.preview_bytes])
    wait_for(lambda: drawn(hub, location), "its preview is drawn")


def test_a_part_that_is_no_parcel_costs_nothing_and_the_next_one_is_drawn(
    hub: RunningHub, client: Client, parcel: tuple[str, bytes]
):
    nonsense = random.Random(3).randbytes(300_000)
    bad = begin(client, nonsense, 200_000)
    broken = bytearray(parcel[1])
    broken[90] ^= 0xFF
    damaged = begin(client, bytes(broken), len(broken) // 2)
    good = begin(client, parcel[1][:-1] + b"!", len(parcel[1]) // 2)
    wait_for(lambda: drawn(hub, good), "the good one is drawn")
    assert drawn(hub, bad) == drawn(hub, damaged) == []
    assert client.patch(bad, 200_000, nonsense[200_000:]).status == 204
    assert client.verdict(hashlib.sha256(nonsense).hexdigest())["refusal"] == "digest"


def test_previews_go_with_their_upload_and_with_time(hub: RunningHub, client: Client, parcel: tuple[str, bytes]):
    kept = begin(client, parcel[1][:-1] + b"1", len(parcel[1]) // 2)
    gone = begin(client, parcel[1][:-1] + b"2", len(parcel[1]) // 2)
    uid = a_uid()
    tell(client, uid, a_notice(uid))
    wait_for(lambda: drawn(hub, kept) and drawn(hub, gone), "both are drawn")
    files = hub.data / "previews"
    assert client.ask("DELETE", gone).status == 204
    _clean(hub, now_ms())
    assert drawn(hub, kept)
    assert drawn(hub, gone) == []
    names = {path.parent.name for path in files.glob("??/*/*.png")}
    assert kept.rpartition("/")[2] in names
    assert gone.rpartition("/")[2] not in names
    _clean(hub, now_ms() + (KEPT_DAYS + 1) * DAY)
    assert list(files.glob("??/*")) == []
    assert verb(hub, "show", uid).exit_code == 0
    _clean(hub, now_ms() + (NOTICE_DAYS + 1) * DAY)
    assert verb(hub, "show", uid).exit_code == 6


def _clean(hub: RunningHub, now: int) -> None:
    assert hub.hub
    parts = hub.hub._parts
    drawing = Previewing(parts, None, lambda *_: None)  # type: ignore[arg-type] - it draws nothing
    Cleaning(parts, drawing.clean)._clean_previews(now)


def test_a_study_without_previews_says_what_to_do_instead(hub: RunningHub, client: Client, tmp_path: Path):
    uid = a_uid()
    tell(client, uid, a_notice(uid))
    result = verb(hub, "preview", uid, "--out", str(tmp_path / "out"))
    assert result.exit_code == 6
    assert not (tmp_path / "out").exists()


# ---------------------------------------------------------------------- wishes


def wished(client: Client, after: int = 0, wait: int = 0) -> Any:
    return client.ask("GET", f"/v1/wishes?after={after}&wait={wait}").json


def test_a_wish_reaches_the_unit_that_waits_for_it_within_moments(hub: RunningHub, client: Client):
    uid = a_uid()
    tell(client, uid, a_notice(uid))
    assert wished(client) == {"wishes": [], "latest": 0}
    answers: list[Any] = []
    waiting = threading.Thread(target=lambda: answers.append(wished(client, wait=30)))
    waiting.start()
    made = printed(hub, "wish", uid, "--series", "3", "--first")
    assert len(made["wishes"]) == 1
    waiting.join(20)  # it would wait for 30 s
    assert not waiting.is_alive()
    (wish,) = answers[0]["wishes"]
    assert (wish["study_instance_uid"], wish["series"], wish["kind"]) == (uid, "3", "first")
    assert wish["id"] == answers[0]["latest"] == made["wishes"][0]
    assert wished(client, after=wish["id"])["wishes"] == []
    printed(hub, "wish", uid, "--enough")
    assert [each["kind"] for each in wished(client)["wishes"]] == ["first", "enough"]
    assert "enough, the rest stays at the site" in verb(hub, "show", uid).output


def test_a_unit_that_knows_a_later_wish_than_there_is_is_told_so_at_once(client: Client):
    assert wished(client, after=77, wait=30) == {"wishes": [], "latest": 0}


def test_wishes_are_for_the_sites_that_have_the_study(hub: RunningHub, client: Client):
    uid = a_uid()
    other = hub.client(add_site(hub.config, f"other-{random.randrange(1 << 60):x}"))
    tell(client, uid, a_notice(uid))
    assert len(printed(hub, "wish", uid, "--all")["sites"]) == 1
    assert wished(other)["wishes"] == []
    assert verb(hub, "wish", uid, "--all", "--site", "nobody").exit_code == 6
    assert verb(hub, "wish", a_uid(), "--first").exit_code == 6
    assert verb(hub, "wish", uid).exit_code == 2
    assert verb(hub, "wish", uid, "--first", "--series", "1" * 65).exit_code == 2


@pytest.mark.parametrize("query", ["after=x", "after=-1", "after=1" + "0" * 30, "wait=x"])
def test_a_question_for_wishes_that_is_none_is_refused(client: Client, query: str):
    assert client.ask("GET", f"/v1/wishes?{query}").status == 400
