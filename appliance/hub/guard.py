"""Ceilings on connections, in all and of one address, put before aiohttp sees the first byte.

A unit needs a handful. What a connection may cost is bounded elsewhere: its head by aiohttp in size and by
`keepalive_timeout` in time, its requests by `parts.Slots`, its body by `feed.batches`.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Callable
from typing import Final, cast

CONNECTIONS_MAX: Final = 512
CONNECTIONS_OF_PEER_MAX: Final = 64
# A peer that is gone without a word (a line that fell) is noticed after about 50 seconds.
_KEEPALIVE: Final = {socket.TCP_KEEPIDLE: 20, socket.TCP_KEEPINTVL: 10, socket.TCP_KEEPCNT: 3}


class Guard:
    """Makes the protocol of each connection, or closes it when there are too many."""

    def __init__(self, factory: Callable[[], asyncio.Protocol]) -> None:
        self._factory = factory
        self._peers: Counter[str] = Counter()

    def __call__(self) -> asyncio.Protocol:
        """What `loop.create_server` asks for each connection."""
        return _Counted(self._factory(), self._peers)


class _Counted(asyncio.Protocol):
    """Counts a connection while it is open, and passes everything on."""

    def __init__(self, inner: asyncio.Protocol, peers: Counter[str]) -> None:
        self._inner, self._peers = inner, peers
        self._peer: str | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        address = transport.get_extra_info("peername")
        peer = str(address[0]) if address else ""
        if self._peers[peer] >= CONNECTIONS_OF_PEER_MAX or self._peers.total() >= CONNECTIONS_MAX:
            cast(asyncio.Transport, transport).abort()
            return
        self._peer = peer
        self._peers[peer] += 1
        self._inner.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._peer is None:
            return
        self._peers[self._peer] -= 1
        if not self._peers[self._peer]:
            del self._peers[self._peer]
        self._inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._peer is not None:
            self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received() if self._peer is not None else None

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()


def listening_socket(host: str, port: int) -> socket.socket:
    """A socket that listens on exactly this address; connections inherit its keep-alive. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE.items():
            listener.setsockopt(socket.IPPROTO_TCP, option, value)
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener
