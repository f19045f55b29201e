"""Questions to a name server, and what is believed of its answers."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.tiny_dns import answer

from appliance.link import names
from appliance.link.names import LookUpError, addresses_in, in_hosts, question, servers_in

ASKED = question("hub.example.org", 1, 0x1234)


def test_an_answer_is_read() -> None:
    assert addresses_in(answer(ASKED, "203.0.113.5"), ASKED) == ["203.0.113.5"]
    assert addresses_in(answer(ASKED, ""), ASKED) == []


def test_an_answer_of_ipv6_is_read() -> None:
    asked = question("hub.example.org", 28, 0x1234)
    both = "203.0.113.5 2001:db8::5 2001:db8:0:0::6"
    assert addresses_in(answer(asked, both), asked) == ["2001:db8::5", "2001:db8::6"]
    assert addresses_in(answer(ASKED, both), ASKED) == ["203.0.113.5"]


def test_an_answer_by_another_name_is_read_too() -> None:
    """CNAME: the resolver gives the chain, and the address at its end."""
    chain = b"\xc0\x0c\0\x05\0\x01\0\0\0\x3c\0\x06\x03two\xc0\x10"
    record = b"\x03two\xc0\x10\0\x01\0\x01\0\0\0\x3c\0\x04" + socket.inet_aton("203.0.113.9")
    message = ASKED[:2] + b"\x81\x80\0\x01\0\x02\0\0\0\0" + ASKED[12:] + chain + record
    assert addresses_in(message, ASKED) == ["203.0.113.9"]


@pytest.mark.parametrize(
    "message",
    [
        b"",
        ASKED,  # our own question, sent back
        answer(question("hub.example.org", 1, 0x1235), "203.0.113.5"),
        answer(question("other.example.org", 1, 0x1234), "203.0.113.5"),
        answer(question("hub.example.org", 28, 0x1234), "203.0.113.5"),
        answer(ASKED, "203.0.113.5")[:-1],
        answer(ASKED, "203.0.113.5")[:-12],
    ],
)
def test_what_is_no_answer_to_the_question_is_not_believed(message: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert addresses_in(message, ASKED) == []


def test_a_server_that_fails_says_so() -> None:
    failed = ASKED[:2] + b"\x81\x82" + ASKED[4:]
    with pytest.raises(LookUpError, match="error"):
        addresses_in(failed, ASKED)


@given(st.binary(max_size=120))
def test_any_bytes_behind_a_true_head_are_read_or_refused(tail: bytes) -> None:
    with contextlib.suppress(ValueError):
        addresses_in(ASKED[:2] + b"\x81\x80\0\x01\xff\xff\0\0\0\0" + ASKED[12:] + tail, ASKED)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(message: bytes) -> None:
    with contextlib.suppress(ValueError, LookUpError):
        addresses_in(message, ASKED)


@pytest.mark.parametrize("name", ["", "a..b", "x" * 64 + ".org", ".".join(["x" * 60] * 5)])
def test_a_name_that_can_not_be_asked_for_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not a host's name"):
        question(name, 1, 1)


def test_files_of_the_machine_are_read() -> None:
    assert servers_in("# x\nnameserver 192.0.2.1\nsearch y\nnameserver fe80::1%eth0\nnameserver bad\nnameserver\n") == [
        "192.0.2.1",
        "fe80::1",
    ]
    hosts = "127.0.0.1 localhost\n203.0.113.5\thub HUB.example.org # the hub\nnonsense hub.example.org\n"
    assert in_hosts(hosts, "hub.example.org") == ["203.0.113.5"]
    assert in_hosts(hosts, "other") == []
    assert in_hosts("2001:DB8:0:0::5 hub\n", "hub") == ["2001:db8::5"], "as the tunnel will call it"


def test_for_a_name_server_on_loopback_those_behind_it_are_asked(tmp_path: Path) -> None:
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.53\n")
    behind = tmp_path / "behind"
    assert names.system_servers(tmp_path, behind) == []
    behind.write_text("nameserver 192.0.2.7\n")
    assert names.system_servers(tmp_path, behind) == ["192.0.2.7"]


@contextlib.contextmanager
def server(reply: Callable[[bytes], list[bytes]], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A name server on a port of loopback that is asked instead of 53."""
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        monkeypatch.setattr(names, "_PORT", sock.getsockname()[1])

        def serve() -> None:
            query, asker = sock.recvfrom(512)
            for message in reply(query):
                sock.sendto(message, asker)

        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join()


def test_a_server_is_asked_and_what_is_no_answer_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    with server(lambda query: [b"junk", answer(query, "203.0.113.5")], monkeypatch):
        assert names.ask("hub.example.org", "127.0.0.1", 4, device="lo") == ["203.0.113.5"]


def test_a_server_that_is_silent_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with server(lambda query: [], monkeypatch), pytest.raises(TimeoutError):
        names.ask("hub.example.org", "127.0.0.1", 4, device="lo", seconds=0.2)
