"""The upload endpoint over real sockets: every offset that is given out is safe, and no byte is asked for twice."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import threading
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
from support.hub import Client, RawRequest, RunningHub, add_site, hub_config, running_hub, tiny_parcel
from support.processes import wait_for

from appliance.clock import now_ms
from appliance.hub import refused
from appliance.hub.cleaning import Cleaning

BODY = random.Random(1).randbytes(300_000)
DIGEST = hashlib.sha256(BODY).hexdigest()
DAY = 86_400_000


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    config = hub_config(tmp_path_factory.mktemp("hub"), uploads_max=1000, requests_max=64)
    with running_hub(config) as running:
        yield running


@pytest.fixture
def client(hub: RunningHub) -> Client:
    """A site of its own for each test."""
    return hub.client(add_site(hub.config, f"site-{random.randrange(1 << 60):x}"))


@pytest.fixture
def location(client: Client) -> str:
    return client.create(len(BODY), DIGEST).headers["location"]


def test_an_upload_goes_on_where_it_stopped_until_it_is_whole(hub: RunningHub, client: Client, location: str):
    assert client.head(location).offset == 0
    for start, end in ((0, 1), (1, 100_000), (100_000, 100_000), (100_000, len(BODY))):
        answer = client.patch(location, start, BODY[start:end])
        assert (answer.status, answer.offset) == (204, end)
        if end < len(BODY):  # the whole one is judged at once, and a refused one is no upload any more
            assert client.head(location).offset == end
    assert client.verdict(DIGEST)["refusal"] == "digest"  # these bytes are no parcel


def test_what_is_stored_is_what_was_sent(hub: RunningHub, client: Client, location: str):
    client.patch(location, 0, BODY[:-1])
    name = location.rpartition("/")[2]
    assert (hub.data / "uploads" / name).read_bytes() == BODY[:-1]


def test_every_answer_says_the_version_and_until_when_the_upload_is_kept(client: Client, location: str):
    for answer in (client.head(location), client.patch(location, 0, b"")):
        assert answer.headers["tus-resumable"] == "1.0.0"
        assert "GMT" in answer.headers["upload-expires"]
    assert client.head(location).headers["upload-length"] == str(len(BODY))
    assert client.head(location).headers["cache-control"] == "no-store"


def test_a_chunked_body_of_unknown_length_is_taken(client: Client, location: str):
    request = RawRequest.patch(client, location, 0, None)
    for at in range(0, 50_000, 10_000):
        request.send_chunk(BODY[at : at + 10_000])
    request.send_chunk(b"")
    assert request.status() == 204
    request.close()
    assert client.head(location).offset == 50_000


@pytest.mark.parametrize("sent", [0, 1, 1000, 65_536, 65_537, 299_999])
def test_after_a_cut_every_byte_that_came_is_kept(client: Client, location: str, sent: int):
    request = RawRequest.patch(client, location, 0, len(BODY))
    request.send(BODY[:sent])
    # A reset throws away what the kernel had not handed over; a closed connection does not.
    request.close()
    wait_for(lambda: client.head(location).offset == sent, f"{sent} bytes are safe")
    assert client.patch(location, sent, BODY[sent:]).offset == len(BODY)


def test_after_a_reset_the_offset_is_true_and_the_upload_goes_on(hub: RunningHub, client: Client, location: str):
    request = RawRequest.patch(client, location, 0, len(BODY))
    request.send(BODY[:200_000])
    request.cut()
    offset = client.head(location).offset
    name = location.rpartition("/")[2]
    assert (hub.data / "uploads" / name).read_bytes()[:offset] == BODY[:offset]
    answer = client.patch(location, offset, BODY[offset:])
    if answer.status == 409:  # the hub took up the cut request only after the HEAD; its bytes count, and it says so
        answer = client.patch(location, answer.offset, BODY[answer.offset :])
    assert answer.offset == len(BODY)


def test_a_newer_head_takes_over_from_a_request_whose_line_fell(client: Client, location: str):
    stale = RawRequest.patch(client, location, 0, len(BODY))
    stale.send(BODY[:123_456])
    offset = wait_for(lambda: _settled(client, location), "the bytes are safe")
    assert offset == 123_456
    assert stale.status() == 423
    stale.close()


def _settled(client: Client, location: str) -> int:
    return client.head(location).offset


def test_a_newer_patch_takes_over_and_the_older_one_writes_no_more(hub: RunningHub, client: Client, location: str):
    stale = RawRequest.patch(client, location, 0, len(BODY))
    stale.send(BODY[:1000])
    offset = wait_for(lambda: _settled(client, location), "the older request had begun")
    stale.send(b"garbage" * 1000)
    assert client.patch(location, offset, BODY[offset:]).offset == len(BODY)
    assert stale.status() == 423
    stale.close()
    assert client.verdict(DIGEST)["verdict"] == "refused"  # as a parcel; but its digest matched:
    (kept,) = (hub.data / "refused").glob(location.rpartition("/")[2] + ".*")
    assert hashlib.sha256(kept.read_bytes()).hexdigest() == DIGEST


def test_two_that_write_at_once_leave_one_true_copy(client: Client, tmp_path: Path):
    parcel = tiny_parcel(tmp_path / "work", 5, range(20), side=64)
    digest = hashlib.sha256(parcel).hexdigest()
    location = client.create(len(parcel), digest).headers["location"]

    def send(_number: int) -> int:
        while True:
            told = client.head(location)
            if told.status == 200 and told.offset == len(parcel):
                return told.offset
            if told.status == 200:
                client.patch(location, told.offset, parcel[told.offset : told.offset + 50_000])
            else:
                assert told.status == 423  # a newer request was first

    with ThreadPoolExecutor(3) as threads:
        assert list(threads.map(send, range(3))) == [len(parcel)] * 3
    assert client.verdict(digest)["verdict"] == "verified"


def test_the_wrong_offset_is_409_with_the_true_one(client: Client, location: str):
    client.patch(location, 0, BODY[:10])
    for offset in (0, 9, 11, len(BODY)):
        answer = client.patch(location, offset, b"")
        assert (answer.status, answer.offset) == (409, 10)


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
def test_a_body_that_does_not_match_its_checksum_is_460_and_dropped(client: Client, location: str, algorithm: str):
    right = b64encode(hashlib.new(algorithm, BODY[:1000]).digest()).decode()
    wrong = client.patch(location, 0, BODY[1:1001], Upload_Checksum=f"{algorithm} {right}")
    assert wrong.status == 460
    assert client.head(location).offset == 0
    fine = client.patch(location, 0, BODY[:1000], Upload_Checksum=f"{algorithm} {right}")
    assert (fine.status, fine.offset) == (204, 1000)


def test_a_cut_body_with_a_checksum_is_dropped(hub: RunningHub, client: Client, location: str):
    checksum = "sha1 " + b64encode(hashlib.sha1(BODY).digest()).decode()
    request = RawRequest.patch(client, location, 0, len(BODY), Upload_Checksum=checksum)
    request.send(BODY[:200_000])
    request.close()
    assert client.head(location).offset == 0
    assert client.patch(location, 0, BODY, Upload_Checksum=checksum).offset == len(BODY)


def test_an_unknown_checksum_algorithm_is_400(client: Client, location: str):
    assert client.patch(location, 0, b"x", Upload_Checksum="crc32 AAAA").status == 400


def test_a_body_over_the_end_is_413_and_changes_nothing(client: Client, location: str):
    assert client.patch(location, 0, BODY + b"x").status == 413
    request = RawRequest.patch(client, location, 0, None)
    request.send_chunk(BODY + b"x")
    assert request.status() == 413
    request.close()
    assert client.head(location).offset < len(BODY)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content_Type": "text/plain"}, 415),
        ({"Content_Encoding": "gzip"}, 415),
        ({"Upload_Offset": "zero"}, 400),
        ({"Tus_Resumable": "0.9"}, 412),
        ({"Tus_Resumable": ""}, 412),
    ],
)
def test_a_patch_that_is_no_tus_is_refused(client: Client, location: str, headers: dict[str, str], status: int):
    assert client.patch(location, 0, b"x", **headers).status == status
    assert client.head(location).offset == 0


def test_a_header_that_comes_twice_is_400(client: Client, location: str):
    request = RawRequest.patch(client, location, 0, 1, Upload_Length="1\r\nUpload-Offset: 1")
    request.send(b"x")
    assert request.status() == 400
    request.close()


def test_a_post_may_stand_for_patch_and_delete(client: Client, location: str):
    headers = {"X_HTTP_Method_Override": "PATCH", "Content_Type": "application/offset+octet-stream"}
    answer = client.ask("POST", location, b"abc", Upload_Offset="0", **headers)
    assert (answer.status, answer.offset) == (204, 3)
    assert client.ask("POST", location, X_HTTP_Method_Override="DELETE").status == 204
    assert client.head(location).status == 404


def test_the_same_parcel_again_is_the_same_upload_at_its_present_offset(client: Client, location: str):
    client.patch(location, 0, BODY[:777])
    again = client.create(len(BODY), DIGEST)
    assert (again.status, again.headers["location"], again.offset) == (201, location, 777)


def test_many_that_create_the_same_parcel_at_once_get_one_upload(hub: RunningHub, client: Client):
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: client.create(len(BODY), DIGEST), range(8)))
    assert {answer.status for answer in answers} == {201}
    assert len({answer.headers["location"] for answer in answers}) == 1
    files = {path.name for path in (hub.data / "uploads").iterdir()}
    named = {row["name"] for row in hub.rows("SELECT name FROM parcel WHERE verdict IN ('partial', 'checking')")}
    assert files == named


def test_a_parcel_that_was_said_to_have_another_length_begins_anew(client: Client, location: str):
    client.patch(location, 0, BODY[:777])
    again = client.create(len(BODY) + 1, DIGEST)
    assert again.offset == 0
    assert again.headers["location"] != location
    assert client.head(location).status == 404


def test_a_terminated_upload_is_gone_and_its_file_too(hub: RunningHub, client: Client, location: str):
    client.patch(location, 0, BODY[:10])
    name = location.rpartition("/")[2]
    assert client.ask("DELETE", location).status == 204
    assert client.head(location).status == 404
    assert client.ask("DELETE", location).status == 404
    assert not (hub.data / "uploads" / name).exists()
    assert client.verdict(DIGEST)["verdict"] == "unknown"


def test_a_whole_parcel_can_not_be_terminated(client: Client, tmp_path: Path):
    parcel = tiny_parcel(tmp_path / "work", 1, [1])
    digest = hashlib.sha256(parcel).hexdigest()
    location = client.create(len(parcel), digest).headers["location"]
    client.patch(location, 0, parcel)
    assert client.ask("DELETE", location).status == 204
    assert client.verdict(digest)["verdict"] == "verified"
    assert client.head(location).offset == len(parcel)


def test_a_delivered_parcel_is_never_asked_for_again(client: Client, tmp_path: Path):
    parcel = tiny_parcel(tmp_path / "work", 2, [1])
    first = client.send(parcel)
    again = client.create(len(parcel), first["parcel"])
    assert (again.status, again.offset) == (201, len(parcel))
    assert client.patch(again.headers["location"], len(parcel), b"").status == 204
    assert client.verdict(first["parcel"]) == first


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1/uploads/",
        "/v1/uploads/..",
        "/v1/uploads/../../etc/passwd",
        "/v1/uploads/%2e%2e%2fhub.db",
        "/v1/uploads/" + "0" * 31,
        "/v1/uploads/" + "0" * 32,
        "/v1/uploads/" + "G" * 32,
        "/v1/uploads/" + "0" * 32 + "%00",
        "/v1/uploads/" + "a" * 7000,
        "/v1/nothing",
    ],
)
@pytest.mark.parametrize("method", ["HEAD", "PATCH", "DELETE", "GET"])
def test_a_path_that_is_no_upload_is_refused(client: Client, method: str, path: str):
    headers = {"Content_Type": "application/offset+octet-stream", "Upload_Offset": "0"}
    assert client.ask(method, path, **headers).status in {404, 405}


@pytest.mark.parametrize(
    "metadata",
    [
        "parcel",
        "parcel !!",
        "parcel " + b64encode(b"x" * 64).decode(),
        "priority " + b64encode(b"now").decode(),
        ",",
        "é",
    ],
)
def test_hostile_metadata_is_400_and_opens_nothing(hub: RunningHub, client: Client, metadata: str):
    before = hub.rows("SELECT count(*) FROM parcel")[0][0]
    assert client.ask("POST", "/v1/uploads", Upload_Length="1", Upload_Metadata=metadata).status == 400
    assert hub.rows("SELECT count(*) FROM parcel")[0][0] == before


@pytest.mark.parametrize("length", ["", "-1", "0", "1e9", "9" * 30, "0x10", " 1 2"])
def test_a_length_that_is_none_is_400(client: Client, length: str):
    headers = {"Upload_Length": length} if length else {}
    assert client.ask("POST", "/v1/uploads", **headers).status == 400


def test_a_hostile_host_header_does_no_harm(client: Client):
    for host in ("[::bad", "a b", "x" * 300, "evil.example"):
        answer = client.ask("POST", "/v1/uploads", Upload_Length="1", Host=host)
        assert answer.status in {201, 400}


def test_a_client_of_http_1_0_that_names_no_host_gets_a_path(client: Client):
    head = f"POST /v1/uploads HTTP/1.0\r\nAuthorization: Bearer {client.secret}\r\n"
    request = RawRequest(client.url, head + "Tus-Resumable: 1.0.0\r\nUpload-Length: 5\r\n\r\n")
    answer = request.answer().decode()
    request.close()
    assert " 201 " in answer
    assert "Location: /v1/uploads/" in answer


def test_a_silent_peer_is_ended_and_its_upload_kept(tmp_path: Path):
    with running_hub(hub_config(tmp_path, silence_seconds=0.4)) as hub:
        client = hub.client()
        location = client.create(100, None).headers["location"]
        silent = RawRequest.patch(client, location, 0, 100)
        silent.send(b"x" * 10)
        assert silent.status() == 408
        silent.close()
        assert client.head(location).offset == 10


def test_a_slow_peer_is_never_ended(tmp_path: Path):
    with running_hub(hub_config(tmp_path, silence_seconds=0.5)) as hub:
        client = hub.client()
        location = client.create(10, None).headers["location"]
        slow = RawRequest.patch(client, location, 0, 10)
        pause = threading.Event()
        for _ in range(10):
            slow.send(b"x")
            pause.wait(0.15)
        assert slow.status() == 204
        slow.close()


@pytest.mark.parametrize("head", ["", "PATCH /v1/upl", "GET /v1/hello HTTP/1.1\r\nHost: x\r\nX-Half: "])
def test_a_peer_that_does_not_end_its_head_is_put_out(tmp_path: Path, head: str):
    with running_hub(hub_config(tmp_path, silence_seconds=0.4)) as hub:
        peer = RawRequest(hub.url, head)
        assert peer.status(5) == 0
        peer.close()
        assert hub.client().ask("GET", "/v1/hello").status == 200


@pytest.mark.parametrize(
    "head",
    [
        "GET /v1/hello HTTP/1.1\r\nHost: x\r\nX: " + "y" * 20_000 + "\r\n\r\n",
        "GET /" + "y" * 20_000 + " HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\n" + "".join(f"X{n}: 1\r\n" for n in range(200)) + "\r\n",
        "nonsense\r\n\r\n",
        "\0\1\2\3\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
    ],
)
def test_a_head_that_is_none_or_too_long_is_400(hub: RunningHub, head: str):
    peer = RawRequest(hub.url, head)
    assert peer.status() == 400
    peer.close()


def test_one_address_can_not_take_all_connections(hub: RunningHub):
    peers = [RawRequest(hub.url, "") for _ in range(80)]
    refused = 0
    for peer in peers[64:]:
        refused += peer.answer(5) == b""
    assert refused == 16
    for peer in peers:
        peer.close()
    wait_for(lambda: _hello(hub), "the hub answers again")


def _hello(hub: RunningHub) -> bool:
    try:
        return hub.client().ask("GET", "/v1/hello").status == 200
    except OSError:
        return False


def test_an_upload_expires_when_it_got_no_byte_for_its_days_and_not_before(tmp_path: Path):
    with running_hub(hub_config(tmp_path, upload_days=2)) as hub:
        client = hub.client()
        locations = [client.create(100, None).headers["location"] for _ in range(2)]
        client.patch(locations[0], 0, b"x")
        held = RawRequest.patch(client, locations[1], 0, 100)
        held.send(b"y")
        wait_for(lambda: hub.rows("SELECT 1 FROM parcel WHERE offset = 1 AND id = 2"), "the byte is safe")
        _clean(hub, 2 * DAY - 60_000)
        assert client.head(locations[0]).offset == 1
        _clean(hub, 2 * DAY + 60_000)
        assert client.head(locations[0]).status == 404
        names = [path.name for path in (hub.data / "uploads").iterdir()]
        assert names == [locations[1].rpartition("/")[2]]  # some request had it open
        held.close()


def _clean(hub: RunningHub, later: int) -> None:
    """As the hub will when it has been up for so many more milliseconds."""
    assert hub.hub
    assert hub.loop
    parts = hub.hub._parts
    asyncio.run_coroutine_threadsafe(Cleaning(parts).clean(parts.uptime.milliseconds() + later), hub.loop).result(10)


def test_the_answer_says_when_the_upload_expires_by_the_clock_of_now(tmp_path: Path):
    with running_hub(hub_config(tmp_path, upload_days=2)) as hub:
        location = hub.client().create(100, None).headers["location"]
        expires = parsedate_to_datetime(hub.client().head(location).headers["upload-expires"]).timestamp() * 1000
        assert abs(expires - (now_ms() + 2 * DAY)) < 60_000


def test_refused_parcels_are_kept_aside_for_some_days(tmp_path: Path):
    with running_hub(hub_config(tmp_path)) as hub:
        assert hub.client().send(BODY)["verdict"] == "refused"
        (kept,) = (hub.data / "refused").iterdir()
        assert kept.read_bytes() == BODY
        assert hub.hub
        os.utime(kept, (0, 0))  # as when the clock was wrong: what the file says of its time is not asked
        up = hub.hub._parts.uptime.milliseconds()
        refused.clean(kept.parent, up + (refused.DAYS - 1) * DAY)
        assert kept.exists()
        refused.clean(kept.parent, up + (refused.DAYS + 1) * DAY)
        assert not kept.exists()


def test_of_more_than_may_be_kept_aside_the_oldest_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(refused, "BYTES_MAX", 250)
    for up in (1, 20, 100, 9):
        file = tmp_path / f"{up:032x}"
        file.write_bytes(b"x" * 100)
        refused.keep(file, tmp_path, up)
    (tmp_path / "of-before").write_bytes(b"x")
    refused.clean(tmp_path, 200)
    assert sorted(path.name.partition(".")[2] for path in tmp_path.iterdir()) == ["100", "20"]


def test_a_refused_parcel_may_be_sent_again_from_its_first_byte(client: Client):
    assert client.send(BODY)["refusal"] == "digest"
    again = client.create(len(BODY), DIGEST)
    assert (again.status, again.offset) == (201, 0)
    assert client.verdict(DIGEST, wait=0)["verdict"] == "partial"


def test_an_upload_whose_file_the_disk_lost_begins_again_and_says_so(hub: RunningHub, client: Client, location: str):
    client.patch(location, 0, BODY[:5000])
    name = location.rpartition("/")[2]
    path = hub.data / "uploads" / name
    path.write_bytes(BODY[:4000])
    assert client.head(location).offset == 4000
    path.unlink()
    assert client.head(location).offset == 0
    assert client.patch(location, 0, BODY).offset == len(BODY)


def test_bytes_behind_the_durable_offset_are_cut_off(hub: RunningHub, client: Client, location: str):
    """After a power cut a file may be longer than what was fsynced, with anything in it."""
    client.patch(location, 0, BODY[:5000])
    name = location.rpartition("/")[2]
    with (hub.data / "uploads" / name).open("ab") as file:
        file.write(bytes(100_000))
    assert client.head(location).offset == 5000
    client.patch(location, 5000, BODY[5000:6000])
    assert (hub.data / "uploads" / name).read_bytes() == BODY[:6000]


def test_a_hub_that_is_told_to_stop_keeps_every_byte_that_came(tmp_path: Path):
    config = hub_config(tmp_path)
    with running_hub(config) as hub:
        location = hub.client().create(10_000, None).headers["location"]
        request = RawRequest.patch(hub.client(), location, 0, 10_000)
        request.send(b"x" * 7000)
        wait_for(lambda: hub.hub and hub.hub._parts.holds.is_held(location.rpartition("/")[2]), "it is being served")
    assert request.status() == 503
    request.close()
    with running_hub(config, hub.secret) as again:
        assert again.client().head(again.url + "/v1/uploads/" + location.rpartition("/")[2]).offset == 7000
