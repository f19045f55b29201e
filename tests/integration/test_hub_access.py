"""Who may do what at the hub: credentials, other sites' uploads, ceilings of a site, and what a full hub says."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.hub import Client, RawRequest, RunningHub, add_site, hub_config, running_hub, tiny_parcel
from support.processes import wait_for

from appliance.config import HubConfig
from appliance.hub.credentials import new_secret
from appliance.hub.index import sites
from appliance.hub.index.database import Index

MIB = 1 << 20


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    with running_hub(hub_config(tmp_path_factory.mktemp("hub"))) as running:
        yield running


@pytest.fixture(scope="module")
def other(hub: RunningHub) -> Client:
    return hub.client(add_site(hub.config, "other"))


def revoke(config: HubConfig, site: str = "site-1") -> None:
    index = Index.open(config)
    with index.write() as connection:
        sites.revoke(connection, site, 1)
    index.close()


def test_hello_says_who_the_hub_is_and_who_asks(hub: RunningHub):
    hello = hub.client().ask("GET", "/v1/hello", Tus_Resumable="").json
    assert (hello["hub"], hello["site"], hello["uploads_max"]) == ("Hub", "site-1", 64)
    assert hello["time"] > 1_700_000_000_000


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/hello"),
        ("OPTIONS", "/v1/uploads"),
        ("POST", "/v1/uploads"),
        ("PATCH", "/v1/uploads/" + "0" * 32),
        ("GET", "/v1/parcels/" + "0" * 64),
        ("GET", "/v1/receipts/1.2.3?digest=" + "0" * 64),
        ("GET", "/no/such/page"),
    ],
)
def test_nothing_is_told_to_who_shows_no_secret(hub: RunningHub, method: str, path: str):
    secret, _ = new_secret("site-1")
    answers = [
        hub.client(shown).ask(method, path, Upload_Length="1")
        for shown in (secret, "nobody." + secret.partition(".")[2], "x", "site-1.")
    ]
    answers.append(hub.client().ask(method, path, Authorization="", Upload_Length="1"))
    assert {answer.status for answer in answers} == {401}
    assert len({answer.body for answer in answers}) == 1
    assert {answer.headers["www-authenticate"] for answer in answers} == {"Bearer"}


def test_a_site_can_not_see_or_touch_the_upload_of_another(hub: RunningHub, other: Client):
    mine = hub.client()
    location = mine.create(100, "cd" * 32).headers["location"]
    mine.patch(location, 0, b"x" * 10)
    assert other.head(location).status == 404
    assert other.patch(location, 10, b"y").status == 404
    assert other.ask("DELETE", location).status == 404
    assert other.verdict("cd" * 32, wait=0)["verdict"] == "unknown"
    assert mine.head(location).offset == 10


def test_a_site_can_not_end_the_request_of_another(hub: RunningHub, other: Client):
    mine = hub.client()
    location = mine.create(100, None).headers["location"]
    request = RawRequest.patch(mine, location, 0, 100)
    request.send(b"x" * 50)
    assert other.head(location).status == 404
    request.send(b"x" * 50)
    assert request.status() == 204
    request.close()


def test_the_same_parcel_of_two_sites_is_two_uploads_and_one_copy_with_a_receipt_each(
    hub: RunningHub, other: Client, tmp_path: Path
):
    parcel = tiny_parcel(tmp_path / "work", 9, [1, 2])
    mine, theirs = hub.client().send(parcel), other.send(parcel)
    assert mine["verdict"] == theirs["verdict"] == "verified"
    assert mine["receipts"] == theirs["receipts"]
    receipt = mine["receipts"][0]
    path = f"/v1/receipts/{receipt['sop_instance_uid']}?digest={receipt['digest']}"
    assert hub.client().ask("GET", path).json == other.ask("GET", path).json == receipt
    assert len(hub.rows("SELECT 1 FROM instance WHERE sop_instance_uid = ?", receipt["sop_instance_uid"])) == 1


def test_a_receipt_is_only_for_the_site_that_delivered(hub: RunningHub, other: Client, tmp_path: Path):
    receipt = hub.client().send(tiny_parcel(tmp_path / "work", 10, [1]))["receipts"][0]
    path = f"/v1/receipts/{receipt['sop_instance_uid']}?digest={receipt['digest']}"
    assert other.ask("GET", path).status == 404
    assert hub.client().ask("GET", path).json == receipt


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/receipts/1.2.3", 400),
        ("/v1/receipts/1.2.3?digest=x", 400),
        ("/v1/receipts/1.2.3?digest=" + "0" * 64, 404),
        ("/v1/receipts/" + "9" * 5000 + "?digest=" + "0" * 64, 404),
        ("/v1/receipts/..%2f..%2fetc%2fpasswd?digest=" + "0" * 64, 404),
        ("/v1/receipts/1'%20OR%201=1--?digest=" + "0" * 64, 404),
        ("/v1/receipts/%00?digest=" + "0" * 64, 404),
        ("/v1/parcels/xyz", 404),
        ("/v1/parcels/" + "0" * 64 + "?wait=soon", 400),
        ("/v1/parcels/" + "0" * 64 + "?wait=nan", 400),
        ("/v1/parcels/" + "0" * 64 + "?wait=-1", 400),
        ("/v1/parcels/" + "0" * 64 + "?wait=9999", 200),
    ],
)
def test_hostile_questions_get_plain_answers(hub: RunningHub, path: str, status: int):
    assert hub.client().ask("GET", path).status == status


def test_a_revoked_site_is_out_at_once_and_in_the_middle_of_a_transfer(tmp_path: Path):
    with running_hub(hub_config(tmp_path)) as hub:
        client = hub.client()
        location = client.create(10 * MIB, None).headers["location"]
        request = RawRequest.patch(client, location, 0, 10 * MIB)
        request.send(bytes(2 * MIB))
        wait_for(lambda: hub.rows("SELECT 1 FROM parcel WHERE offset > 0"), "some of it is safe")
        revoke(hub.config)
        before = hub.rows("SELECT offset FROM parcel")[0][0]
        request.send(bytes(2 * MIB))
        assert request.status() == 401
        request.close()
        assert client.head(location).status == 401
        assert hub.rows("SELECT offset FROM parcel")[0][0] <= before + MIB


def test_a_renewed_secret_replaces_the_old_one_and_the_upload_goes_on(tmp_path: Path):
    with running_hub(hub_config(tmp_path)) as hub:
        location = hub.client().create(100, None).headers["location"]
        hub.client().patch(location, 0, b"x" * 10)
        secret, digest = new_secret("site-1")
        index = Index.open(hub.config)
        with index.write() as connection:
            sites.renew(connection, "site-1", digest, 1)
        index.close()
        assert hub.client().head(location).status == 401
        assert hub.client(secret).head(location).offset == 10


def test_a_site_may_have_so_many_uploads_open_and_others_are_not_disturbed(tmp_path: Path):
    with running_hub(hub_config(tmp_path, uploads_max=2)) as hub:
        client, other = hub.client(), hub.client(add_site(hub.config, "other"))
        first = client.create(10, "aa" * 32)
        assert [client.create(10, "bb" * 32).status, client.create(10, "cc" * 32).status] == [201, 429]
        assert int(client.create(10, "cc" * 32).headers["retry-after"]) > 0
        assert client.create(10, "aa" * 32).headers["location"] == first.headers["location"]  # no new one
        assert other.create(10, "cc" * 32).status == 201
        client.ask("DELETE", first.headers["location"])
        assert client.create(10, "cc" * 32).status == 201


def test_a_ceiling_holds_also_when_many_ask_at_once(tmp_path: Path):
    with running_hub(hub_config(tmp_path, uploads_max=3)) as hub:
        with ThreadPoolExecutor(8) as threads:
            statuses = list(threads.map(lambda n: hub.client().create(10, f"{n:064x}").status, range(8)))
        assert sorted(statuses) == [201] * 3 + [429] * 5
        assert len(list((hub.data / "uploads").iterdir())) == 3


def test_a_site_may_have_so_many_bytes_open(tmp_path: Path):
    with running_hub(hub_config(tmp_path, partial_bytes_max=2 * MIB)) as hub:
        client = hub.client()
        statuses = [client.create(MIB, f"{number:064x}").status for number in range(3)]
        assert statuses == [201, 201, 429]


def test_a_parcel_that_is_too_large_is_413(tmp_path: Path):
    with running_hub(hub_config(tmp_path, parcel_bytes_max=MIB)) as hub:
        assert hub.client().create(MIB, None).status == 201
        assert hub.client().create(MIB + 1, None).status == 413


def test_a_hub_whose_disk_is_at_its_reserve_says_507_and_keeps_what_it_has(tmp_path: Path):
    with running_hub(hub_config(tmp_path)) as hub:
        location = hub.client().create(100, "aa" * 32).headers["location"]
        hub.client().patch(location, 0, b"x" * 10)
    full = hub_config(tmp_path, reserve_bytes=1 << 60)
    with running_hub(full, hub.secret) as hub:
        client = hub.client()
        location = hub.url + "/v1/uploads/" + location.rpartition("/")[2]
        refused = client.create(100, "bb" * 32), client.patch(location, 10, b"y")
        assert [answer.status for answer in refused] == [507, 507]
        assert all(int(answer.headers["retry-after"]) > 0 for answer in refused)
        assert client.head(location).offset == 10
        assert client.create(100, "aa" * 32).offset == 10


def test_a_site_may_have_so_many_requests_at_once(tmp_path: Path):
    with running_hub(hub_config(tmp_path, requests_max=2)) as hub:
        client = hub.client()
        open_ones = []
        for _ in range(2):
            location = client.create(100, None).headers["location"]
            open_ones.append(RawRequest.patch(client, location, 0, 100))
            open_ones[-1].send(b"x")
        wait_for(lambda: len(hub.rows("SELECT 1 FROM parcel WHERE offset = 1")) == 2, "both are being served")
        busy = client.create(100, None)
        assert (busy.status, busy.headers["retry-after"]) == (429, "1")
        assert hub.client(add_site(hub.config, "other")).create(100, None).status == 201
        assert client.ask("GET", "/v1/hello").status == 200
        # A newer request for the same upload takes the older one's place, so a line that fell can't shut a site out.
        assert client.head(location).offset == 1
        for request in open_ones:
            request.close()


def test_when_a_site_was_last_seen_is_known(hub: RunningHub):
    hub.client().ask("GET", "/v1/hello")
    assert hub.rows("SELECT seen_at FROM site WHERE id = 'site-1'")[0][0] > 1_700_000_000_000


def test_bytes_of_two_sites_with_one_digest_do_not_mix(hub: RunningHub, other: Client):
    body = b"z" * 1000
    digest = hashlib.sha256(body).hexdigest()
    mine = hub.client().create(1000, digest)
    hub.client().patch(mine.headers["location"], 0, body[:600])
    theirs = other.create(1000, digest)
    assert theirs.offset == 0
    assert theirs.headers["location"] != mine.headers["location"]
