"""BBR where the kernel has it, started anew before it stands still; elsewhere nothing is touched."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.store_forward import congestion

_TCP_CC_INFO = 26  # linux/tcp.h
HAS_BBR = "bbr" in Path("/proc/sys/net/ipv4/tcp_available_congestion_control").read_text().split()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        far, _ = server.accept()
        with near, far:
            yield near, far


def _exchange(near: socket.socket, far: socket.socket) -> None:
    for _ in range(20):
        near.sendall(bytes(20_000))
        left = 20_000
        while left:
            left -= len(far.recv(left))


def _bandwidth(sock: socket.socket) -> int:
    """What BBR has found the line to carry; 0: nothing yet (struct tcp_bbr_info)."""
    low, high = struct.unpack("=II", sock.getsockopt(socket.IPPROTO_TCP, _TCP_CC_INFO, 20)[:8])
    return int(high << 32 | low)


def test_a_connection_gets_bbr_where_the_kernel_has_it_and_the_default_elsewhere(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    near, far = pair
    congestion.choose(near)
    assert congestion.name(near) == (b"bbr" if HAS_BBR else congestion.name(far))


def test_bbr_begins_anew_and_the_connection_goes_on(pair: tuple[socket.socket, socket.socket]) -> None:
    near, far = pair
    congestion.choose(near)
    _exchange(near, far)
    if HAS_BBR:
        assert _bandwidth(near) > 0
    congestion.renew(near)
    assert congestion.name(near) == (b"bbr" if HAS_BBR else congestion.name(far))
    if HAS_BBR:
        assert _bandwidth(near) == 0, "it has measured nothing since"
    _exchange(near, far)


def test_another_algorithm_is_left_alone(pair: tuple[socket.socket, socket.socket]) -> None:
    near, _ = pair
    near.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
    congestion.renew(near)
    assert congestion.name(near) == b"reno"


def test_a_closed_connection_is_no_error(pair: tuple[socket.socket, socket.socket]) -> None:
    near, _ = pair
    near.close()
    congestion.choose(near)
    congestion.renew(near)
