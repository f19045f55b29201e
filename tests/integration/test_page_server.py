"""The web process: it starts, beats, bounds what it takes, and stops."""

from __future__ import annotations

import http.client
import select
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pytest
from support.page import served
from support.processes import wait_for
from support.ward import Ward, ward_config

from appliance.clock import now_ms
from appliance.errors import ListenError
from appliance.store_forward.database import transaction
from appliance.webui import crowd, server

SOON = 15.0  # seconds; silent connections, which nobody may wait for, are closed after 30 s


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with served(ward_config(tmp_path)) as url:
        yield url


def connect(url: str) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)


def raw(url: str) -> socket.socket:
    host, port = url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=10)


def status(url: str, path: str = "/login", **headers: str) -> int:
    connection = connect(url)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


def test_it_serves_beats_and_stops(tmp_path: Path) -> None:
    config = ward_config(tmp_path)
    ward = Ward(tmp_path, now_ms())
    stop = threading.Event()
    thread = threading.Thread(target=server.run, args=(config, stop))
    thread.start()
    try:
        deadline = time.monotonic() + 20
        while (row := ward.db.execute("SELECT * FROM process WHERE name = 'web'").fetchone()) is None:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert status(f"http://127.0.0.1:{row['status'].split()[-1]}") == 200
    finally:
        stop.set()
        thread.join(10)
        ward.close()
    assert not thread.is_alive()


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        config = ward_config(tmp_path)
        taken = msgspec.structs.replace(config, web=msgspec.structs.replace(config.web, port=other.getsockname()[1]))
        with pytest.raises(ListenError) as raised:
            server.run(taken, threading.Event())
    assert raised.value.hint


def test_headers_beyond_the_ceiling_are_refused(url: str) -> None:
    assert status(url, Cookie="x" * 20_000) == 431
    assert status(url) == 200


def test_a_body_beyond_the_ceiling_is_refused_before_it_is_read(url: str) -> None:
    with raw(url) as connection:
        connection.sendall(b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n")
        assert b" 413 " in connection.recv(200)


def test_what_is_no_http_is_refused(url: str) -> None:
    with raw(url) as connection:
        connection.sendall(b"\x01\x00\x00\x00\x00\xcd\x00\x01\r\n\r\n")
        assert b" 400 " in connection.recv(200)
    assert status(url) == 200


def test_silent_clients_do_not_stop_others(url: str) -> None:
    silent = [raw(url) for _ in range(60)]
    for connection in silent[:30]:
        connection.sendall(b"GET /login HTTP/1.1\r\nHost: x\r\n")
    started = time.monotonic()
    assert status(url) == 200
    assert time.monotonic() - started < SOON
    for connection in silent:
        connection.close()


def hold(url: str, count: int, addresses: Sequence[str], said: bytes = b"") -> list[socket.socket]:
    """Connections that are left open, from each of the addresses in turn; `said` is all they ever say."""
    host, port = url.removeprefix("http://").split(":")
    found = []
    for number in range(count):
        source = (addresses[number % len(addresses)], 0)
        found.append(socket.create_connection((host, int(port)), timeout=10, source_address=source))
        found[-1].sendall(said)
    return found


def seconds_to_load(url: str, source: str) -> float:
    """How long a browser at `source` waits for the page."""
    started = time.monotonic()
    host, port = url.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=20, source_address=(source, 0))
    connection.request("GET", "/login")
    answer = connection.getresponse()
    assert answer.status == 200
    assert b"</html>" in answer.read()
    connection.close()
    return time.monotonic() - started


@pytest.mark.parametrize("said", [b"", b"GET /login HTTP/1.1\r\nHost: x\r\n"], ids=["silent", "half a request"])
def test_two_hundred_connections_of_one_address_take_the_page_from_nobody(url: str, said: bytes) -> None:
    held = hold(url, 200, ["127.0.0.2"], said)
    for _ in range(3):
        assert seconds_to_load(url, "127.0.0.3") < SOON
    assert seconds_to_load(url, "127.0.0.2") < SOON, "not even from itself: its oldest made room"
    close(held)


def test_two_hundred_connections_of_many_addresses_take_the_page_from_nobody(url: str) -> None:
    held = hold(url, 200, [f"127.0.1.{number}" for number in range(1, 101)])
    for _ in range(3):
        assert seconds_to_load(url, "127.0.0.3") < SOON
    close(held)


def test_an_address_is_held_to_its_share(url: str) -> None:
    held = hold(url, crowd.PER_ADDRESS + 5, ["127.0.0.2"])
    assert status(url) == 200  # after which all of them were taken
    closed = select.select(held, [], [], 0)[0]
    assert closed == held[:5], "those that were silent for longest"
    assert [connection.recv(1) for connection in closed] == [b""] * 5
    close(held)


def close(connections: list[socket.socket]) -> None:
    for connection in connections:
        connection.close()


def test_a_locked_database_does_not_hold_the_page_up(tmp_path: Path) -> None:
    ward = Ward(tmp_path, now_ms())
    with served(ward_config(tmp_path)) as url:
        wait_for(lambda: ward.db.execute("SELECT 1 FROM process").fetchone(), "it beats")
        with transaction(ward.db):
            until, took = time.monotonic() + 6.0, []  # three beats
            while time.monotonic() < until:
                took.append(seconds_to_load(url, "127.0.0.1"))
            assert min(took) < 1.0, "each waited for the lock"
        before = ward.db.execute("SELECT beat_at FROM process").fetchone()[0]
        wait_for(lambda: ward.db.execute("SELECT beat_at FROM process").fetchone()[0] > before, "it beats again")
    ward.close()


def test_the_server_does_not_say_what_it_is(url: str) -> None:
    connection = connect(url)
    connection.request("GET", "/login")
    assert connection.getresponse().headers["Server"] is None
    connection.close()


def test_a_path_that_climbs_gets_nothing(url: str) -> None:
    for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/static//etc/passwd", "/..%2f..%2fetc/passwd"):
        assert status(url, path) == 404


def test_a_database_that_is_away_is_said_in_words(tmp_path: Path) -> None:
    data = tmp_path / "data"
    Ward(data, now_ms()).close()
    with served(ward_config(data)) as url:
        assert status(url) == 200
        (data / "appliance.db").rename(data / "away")
        (data / "appliance.db").mkdir()
        connection = connect(url)
        connection.request("GET", "/login")
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        assert answer.status == 503
        assert "read its database" in text
        (data / "appliance.db").rmdir()
        (data / "away").rename(data / "appliance.db")
        assert status(url) == 200
