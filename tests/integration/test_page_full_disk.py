"""The disk is full to the last byte: who is logged in sees every study, and the audit trail hears of it later."""

from __future__ import annotations

import http.client
import json
import re
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from urllib.parse import urlencode

import pytest
from support import canary
from support.processes import MIB, wait_for
from support.small_disk import SmallDisk
from support.ward import PINS, Ward, ward_config

from appliance import logs
from appliance.clock import now_ms
from appliance.store_forward.database import FILE_NAME, open_database
from appliance.webui import server

pytestmark = pytest.mark.needs_root


@dataclass
class Browser:
    """Someone's browser, with its cookies."""

    port: int
    cookies: dict[str, str] = field(default_factory=dict)

    def ask(self, method: str, path: str, **fields: str) -> tuple[int, str]:
        """The status and the page."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        connection.request(method, path, urlencode(fields) if fields else None, headers)
        answer = connection.getresponse()
        for line in answer.headers.get_all("Set-Cookie") or []:
            name, _, value = line.partition(";")[0].partition("=")
            self.cookies[name] = value
        text = answer.read().decode()
        connection.close()
        return answer.status, text

    def post(self, path: str, page: str, **fields: str) -> tuple[int, str]:
        """As the form of that page does."""
        _, text = self.ask("GET", page)
        found = re.search(r'name="csrf_token" value="([^"]+)"', text)
        assert found
        return self.ask("POST", path, csrf_token=found[1], **fields)


@pytest.fixture
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallDisk]:
    with SmallDisk(tmp_path_factory.mktemp("small") / "disk", 32 * MIB) as made:
        yield made


@pytest.fixture
def study(disk: SmallDisk) -> int:
    """A study that is at the hub, and two people who may look at it."""
    with closing(Ward(disk.directory, now_ms())) as ward:
        ward.people()
        return ward.delivered_study(canary.NAME, canary.PATIENT_ID, at=ward.now, came=ward.now, settle_ms=1)


@pytest.fixture
def port(disk: SmallDisk, study: int) -> Iterator[int]:
    """The web process, alone on its box; the page's port."""
    stop = threading.Event()
    thread = threading.Thread(target=server.run, args=(ward_config(disk.directory), stop))
    thread.start()
    yield wait_for(lambda: beat_port(disk), "it beats")
    stop.set()
    thread.join(20)
    assert not thread.is_alive()


def beat_port(disk: SmallDisk) -> int:
    with closing(open_database(disk.directory, read_only=True)) as queue:
        row = queue.execute("SELECT status FROM process WHERE name = 'web'").fetchone()
    return int(row["status"].split()[-1]) if row else 0


@pytest.fixture
def esther(port: int) -> Browser:
    browser = Browser(port)
    assert browser.post("/login", "/login", name="Esther", pin=PINS["Esther"])[0] == 302
    return browser


def looks(disk: SmallDisk) -> list[tuple[int, str, int]]:
    with closing(open_database(disk.directory, read_only=True)) as queue:
        rows = queue.execute("SELECT study_id, actor, at FROM audit_event WHERE action = 'view_study' ORDER BY id")
        return [tuple(row) for row in rows]


def test_a_study_is_shown_and_the_look_is_in_the_trail_when_there_is_room(
    esther: Browser, disk: SmallDisk, study: int, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure("web")
    disk.fill_until_full_for(disk.directory / FILE_NAME)
    before = now_ms()
    for _ in range(3):  # the page reloads itself
        status, page = esther.ask("GET", f"/studies/{study}")
        assert status == 200
        assert "Zebrafink" in page.title()
        assert "At the hub" in page
    after = now_ms()
    assert looks(disk) == []
    for path in ("/", "/live"):
        status, page = esther.ask("GET", path)
        assert status == 200
        assert "The disk is full" in page
    disk.make_room()
    ((seen, who, at),) = wait_for(lambda: looks(disk), "the look is in the audit trail")
    assert (seen, who) == (study, "Esther")
    assert before <= at <= after
    said = capsys.readouterr().err
    (line,) = [json.loads(text) for text in said.splitlines() if "not in the audit trail yet" in text]
    assert (line["study"], line["name"], line["address"]) == (study, "Esther", "127.0.0.1")
    assert not [word for word in canary.WORDS if word in said.lower()]


def test_what_changes_something_is_refused_in_words(esther: Browser, disk: SmallDisk, study: int) -> None:
    disk.fill_until_full_for(disk.directory / FILE_NAME)
    status, page = esther.post(f"/studies/{study}/priority", f"/studies/{study}", priority="stat")
    assert status == 503
    assert "Nothing was changed" in page
    disk.make_room()
    assert esther.post(f"/studies/{study}/priority", f"/studies/{study}", priority="stat")[0] == 302
