"""PDUs from a real socket: in any pieces, with a ceiling and a deadline."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest

from appliance.dimse.transport import PeerGoneError, PeerSilentError, Transport
from appliance.errors import UpperLayerError

Pair = tuple[Transport, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as peer:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        accepted, _ = listener.accept()
        with accepted:
            yield Transport(accepted), peer


def pdu(body: bytes) -> bytes:
    return struct.pack(">BBL", 4, 0, len(body)) + body


def read(transport: Transport, *, first: float = 5.0, whole: float = 5.0, limit: int = 1 << 20) -> bytes:
    kind, body = transport.read_pdu(length_max=limit, first_byte_within=first, whole_within=whole)
    assert kind == 4
    return bytes(body)


def test_pdus_are_whole_whatever_pieces_they_come_in(pair: Pair) -> None:
    transport, peer = pair
    bodies = [bytes([number]) * size for number, size in enumerate((0, 1, 5000, 70000, 3, 200000, 0, 9))]
    stream = b"".join(pdu(body) for body in bodies)

    def send() -> None:
        for at in range(0, len(stream), 7919):
            peer.sendall(stream[at : at + 7919])

    sender = threading.Thread(target=send)
    sender.start()
    assert [read(transport) for _ in bodies] == bodies
    sender.join()


def test_a_claim_over_the_ceiling_is_refused_before_its_bytes_are_awaited(pair: Pair) -> None:
    transport, peer = pair
    peer.sendall(struct.pack(">BBL", 1, 0, 1 << 30))
    with pytest.raises(UpperLayerError, match="over the limit"):
        read(transport)  # else the peer, which says no more, would be silent


def test_silence_ends_after_its_time(pair: Pair) -> None:
    start = time.monotonic()
    with pytest.raises(PeerSilentError):
        read(pair[0], first=0.2, whole=60.0)
    assert 0.15 < time.monotonic() - start < 30


def test_a_pdu_that_trickles_ends_after_its_time_although_bytes_keep_coming(pair: Pair) -> None:
    transport, peer = pair
    done = threading.Event()

    def trickle() -> None:
        peer.sendall(pdu(bytes(1000))[:6])
        while not done.wait(0.05):
            peer.sendall(b"\0")

    sender = threading.Thread(target=trickle)
    sender.start()
    start = time.monotonic()
    with pytest.raises(PeerSilentError):  # all of it would be there after 50 s
        read(transport, whole=0.4)
    assert time.monotonic() - start > 0.3
    done.set()
    sender.join()


@pytest.mark.parametrize("sent", [b"", b"\x04\x00\x00", pdu(b"12345")[:-1]])
def test_a_peer_that_leaves_is_noticed(pair: Pair, sent: bytes) -> None:
    transport, peer = pair
    peer.sendall(sent)
    peer.shutdown(socket.SHUT_WR)
    with pytest.raises(PeerGoneError):
        read(transport)


def test_a_peer_that_takes_nothing_is_given_up(pair: Pair) -> None:
    with pytest.raises(PeerSilentError):
        pair[0].send(bytes(32 << 20), within=0.3)


def test_the_last_words_reach_a_peer_whose_bytes_were_never_read(pair: Pair) -> None:
    transport, peer = pair
    peer.sendall(bytes(5000))
    transport.send(b"goodbye", within=1.0)
    ended = threading.Thread(target=transport.say_goodbye)
    ended.start()
    assert peer.recv(100) == b"goodbye"
    assert peer.recv(100) == b""
    peer.close()
    ended.join()
