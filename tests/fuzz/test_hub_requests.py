"""Broken HTTP, and good HTTP with broken contents, at a real hub: it answers or closes, and serves the next one."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import random
import socket
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import msgspec
import pytest
from support import canary
from support.launcher import Launcher, Running
from support.mini_system import add_site
from support.mutate import mutate
from support.power_cut_hub import Parcel, Site, pack_parcels
from support.processes import free_port, listens, wait_for, write_hub
from support.safekeeping import hub_leftovers, hub_problems

from appliance.hub.people.forms import FIELD, form_token
from appliance.model.health import Health
from appliance.model.notice import SeriesNotice, StudyNotice

MEMORY_MAX = 80 << 20
NAME = canary.NAME.encode()
NOTICE = msgspec.json.encode(
    StudyNotice(
        study_instance_uid="1.2.3",
        patient_name=canary.NAME,
        first_received_at=1,
        last_received_at=2,
        instances=3,
        series=[SeriesNotice(series_instance_uid="1.2.3.4", series_description=canary.NAME, instances=3)],
    )
)

HEALTH = msgspec.json.encode(
    Health(
        at=1,
        version="0.1.0",
        oldest_undelivered_at=2,
        line_since=3,
        line_bytes_per_second=4.5,
        clock_offset_ms=-6,
        disk_free=7,
        held=("routine", "prior"),
        problems=("disk-low", canary.NAME),
    )
)


class Hub:
    """A hub of its own."""

    def __init__(self, directory: Path, launcher: Launcher) -> None:
        self.data, self.port, self.launcher = directory / "hub", free_port(), launcher
        self.data.mkdir()
        config = write_hub(directory / "hub.toml", self.data, self.port, limits__silence_seconds=3.0)
        self.secret = add_site(config)
        self.running: Running = launcher.start("hub", config)
        wait_for(lambda: listens(self.port), "the hub listens")

    def say(self, stream: bytes, *, hang_up: bool = True) -> bytes:
        """Sends bytes, closes its own half and returns what comes until the hub closes or says nothing for a second.

        Who hangs up hears no answer that takes the hub a moment.
        """
        answer = b""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 5) as peer:
            peer.sendall(stream)
            if hang_up:
                peer.shutdown(socket.SHUT_WR)
            peer.settimeout(1)
            while more := peer.recv(65536):
                answer += more
        return answer

    def hello(self) -> int:
        """The status of a good request."""
        site = Site(self.port, self.secret)
        with contextlib.closing(site):
            return site.ask("GET", "/v1/hello")[0].status

    def resident(self) -> int:
        """Bytes."""
        return int(Path(f"/proc/{self.running.pid}/statm").read_text().split()[1]) * 4096

    def log_problems(self) -> list[str]:
        """Patient data and tracebacks."""
        return canary.leaks(self.launcher.log_files()) + canary.tracebacks(self.launcher.log_files())


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with Launcher(tmp_path / "logs", ("hub",)) as launcher:
        yield Hub(tmp_path, launcher)


def _request(hub: Hub, draw: random.Random) -> bytes:
    """A request that a site could make, more or less; sometimes with the canary where a name could get in."""
    body = draw.choice((b"", draw.randbytes(1), draw.randbytes(700), NOTICE, NOTICE, HEALTH))
    metadata = b"parcel " + b64encode(hashlib.sha256(body).hexdigest().encode()) + b",filename " + b64encode(NAME)
    target = draw.choice(
        (b"/v1/hello", b"/v1/uploads", b"/v1/uploads/" + b"0" * 32, b"/v1/parcels/" + b"a" * 64, b"/v1/receipts/1.2.3",
         b"/v1/receipts/" + NAME + b"?digest=" + b"b" * 64, b"/../../etc/passwd", b"/v1/uploads/../" + NAME, b"*",
         b"/v1/studies/1.2.3", b"/v1/studies/1.2.3", b"/v1/studies/" + NAME, b"/v1/wishes?after=0&wait=0",
         b"/v1/wishes?after=" + NAME, b"/v1/health", b"/v1/health?at=" + NAME)
    )  # fmt: skip
    lines = [
        draw.choice((b"GET", b"POST", b"PATCH", b"HEAD", b"DELETE", b"OPTIONS", b"PUT", b"PUT"))
        + b" "
        + target
        + b" HTTP/1.1",
        b"Host: hub",
        b"Authorization: Bearer " + draw.choice((hub.secret.encode(), b"site-1." + b"A" * 43, NAME)),
        b"Tus-Resumable: 1.0.0",
        b"Upload-Length: " + draw.choice((str(len(body)).encode(), b"-1", b"9" * 30, NAME)),
        b"Upload-Offset: " + draw.choice((b"0", b"1", b"-5", b"1e3")),
        b"Upload-Metadata: " + draw.choice((metadata, NAME, b"parcel !!!", b"a" * 9000)),
        b"Upload-Checksum: " + draw.choice((b"sha1 AAAA", b"md5 " + NAME, b"sha256 ")),
        b"Content-Type: application/offset+octet-stream",
        draw.choice((b"Content-Length: " + str(len(body)).encode(), b"Transfer-Encoding: chunked")),
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


@pytest.mark.timeout(0)
@pytest.mark.parametrize(("path", "good"), [("/v1/studies/1.2.3", NOTICE), ("/v1/health", HEALTH)])
def test_a_broken_notice_is_refused_or_taken_and_is_in_no_log(hub: Hub, rounds: int, path: str, good: bytes) -> None:
    with contextlib.closing(Site(hub.port, hub.secret)) as site:
        assert site.ask("PUT", path, body=good)[0].status == 204
        for seed in range(rounds or 300):
            broken = mutate(good, random.Random(seed))
            status = site.ask("PUT", path, body=broken)[0].status
            assert status in {204, 400, 413}, f"seed {seed}"
    assert hub.hello() == 200
    assert hub.log_problems() == []


@pytest.mark.timeout(0)
def test_a_broken_request_disturbs_nobody(hub: Hub, rounds: int) -> None:
    assert hub.hello() == 200
    memory = hub.resident()
    for seed in range(rounds or 300):
        draw = random.Random(seed)
        request = _request(hub, draw)
        answer = hub.say(request if draw.random() < 0.4 else mutate(request, draw))
        assert not answer.startswith(b"HTTP/1.1 5"), f"seed {seed}: {answer[:300]!r}"
        # aiohttp's parser shows a peer its own line when that is no HTTP (and says HTTP/1.0); no answer of ours does.
        assert NAME not in answer or answer.startswith(b"HTTP/1.0 400"), f"seed {seed}: {answer[:300]!r}"
        if seed % 25 == 0:
            assert hub.hello() == 200, f"after seed {seed}"
    assert hub.hello() == 200
    assert hub.resident() - memory < MEMORY_MAX
    assert hub.log_problems() == []


def _of_a_browser(draw: random.Random) -> bytes:
    """A request of a person's browser or of a viewer, its form as the hub itself would have given it out."""
    cookie = draw.choice(("abc", "abc", "é" * 9, ""))
    fields = {
        FIELD: form_token(cookie),
        "name": draw.choice(("Mary", "<script>", "\x00", "x" * 300)),
        "password": draw.choice(("green-lorry-42", "", "\ud800")),
        "next": draw.choice(("/people/account", "//evil.example", "/[", "/\r\nSet-Cookie: a=b")),
    }
    body = urlencode(fields, errors="surrogatepass").encode()
    path = draw.choice(("login", "login", "logout", "account", "account/password", "account/tokens/1/end", "whoami",
                        "static/style.css", "static/..%2fpages.py", "language/fr?next=//evil.example"))  # fmt: skip
    lines = [
        draw.choice((b"POST",) * 5 + (b"GET",) * 4 + (b"DELETE",)) + f" /people/{path} HTTP/1.1".encode(),
        b"Host: 127.0.0.1",
        b"Connection: close",
        b"Cookie: form=" + cookie.encode() + b"; staff=" + draw.choice((b"", b"abc", b'"\\"', b"\xff")),
        b"Authorization: " + draw.choice((b"Bearer viewer_" + b"A" * 43, b"Basic eDp5", b"Bearer", b"\xff")),
        b"X-Forwarded-For: " + draw.choice((b"1.2.3.4", b",,,", b"::1%lo", b"9" * 3000)),
        b"Accept-Language: " + draw.choice((b"fr;q=0.9,en", b"fr;q=nan", b"fr;q=inf", b";;;", b"*")),
        b"Content-Type: application/x-www-form-urlencoded",
        draw.choice((f"Content-Length: {len(body)}".encode(),) * 4 + (b"Transfer-Encoding: chunked",)),
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


@pytest.mark.timeout(0)
def test_a_broken_request_of_a_browser_opens_nothing_and_disturbs_nobody(hub: Hub, rounds: int) -> None:
    heard = set()
    for seed in range(rounds or 150):
        draw = random.Random(seed)
        request = _of_a_browser(draw)
        answer = hub.say(request if draw.random() < 0.6 else mutate(request, draw), hang_up=False)
        heard.add(answer[9:12])
        head = answer.partition(b"\r\n\r\n")[0].lower()
        assert not answer.startswith(b"HTTP/1.1 5"), f"seed {seed}: {answer[:300]!r}"
        assert b"set-cookie: staff=abc" not in head, f"seed {seed}"
        assert b"evil.example" not in head, f"seed {seed}: {head!r}"
        assert b"<script" not in answer or answer.startswith(b"HTTP/1.0 400"), f"seed {seed}"
        if seed % 25 == 0:
            assert hub.hello() == 200, f"after seed {seed}"
    assert heard >= {b"200", b"303", b"400", b"401", b"404", b"405"}  # it was listened to
    assert hub.hello() == 200
    assert hub.log_problems() == []


@pytest.mark.timeout(0)
def test_a_broken_parcel_is_refused_and_the_next_one_verified(hub: Hub, rounds: int, tmp_path: Path) -> None:
    good = pack_parcels(tmp_path / "parcels", "91", count=3)
    held = set()
    with contextlib.closing(Site(hub.port, hub.secret)) as site:
        for seed in range(rounds or 25):
            draw = random.Random(seed)
            parcel = Parcel(mutate(draw.choice(good).content, draw), [])
            verdict = _upload(site, parcel)
            assert verdict["verdict"] == "refused", f"seed {seed}"
            assert verdict["refusal"] in {"digest", "format", "instance", "dictionary"}
            assert not canary_in(str(verdict))
        for parcel in good:
            assert _upload(site, parcel)["verdict"] == "verified"
            held |= {(one.sop_instance_uid, one.digest) for one in parcel.instances}
    assert hub_problems(hub.data, held) == []
    assert hub_leftovers(hub.data) == []
    assert hub.log_problems() == []


def canary_in(text: str) -> bool:
    """Whether any canary word is in the text."""
    return any(word in text.lower() for word in canary.WORDS)


def _upload(site: Site, parcel: Parcel) -> dict[str, object]:
    if not parcel.content:
        return {"verdict": "refused", "refusal": "format"}
    offset = site.open(parcel)
    if offset < len(parcel.content):
        site.send(parcel, offset, len(parcel.content))
    return wait_for(lambda: _final(site, parcel), "a verdict")


def _final(site: Site, parcel: Parcel) -> dict[str, object] | None:
    with contextlib.suppress(http.client.HTTPException):
        verdict = site.verdict(parcel)
        return verdict if verdict["verdict"] in {"verified", "refused"} else None
    return None
