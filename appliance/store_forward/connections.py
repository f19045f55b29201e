"""Connections to the hub: their sockets stay in the tunnel, and small requests have others than bodies.

What the kernel does not do by itself is set here. TCP_USER_TIMEOUT: a dead connection ends after `stall_seconds` and
not after a quarter of an hour. BBR where the kernel has it (`congestion`). SO_PRIORITY: small requests go first in the
queues of this machine.
"""

from __future__ import annotations

import contextlib
import functools
import socket
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any, Final

import aiohttp

from appliance import __version__
from appliance.config import Uplink
from appliance.errors import LinkError
from appliance.link.tunnel import Way, interface_is_up
from appliance.store_forward import congestion
from appliance.store_forward.meter import Meter

_INTERACTIVE: Final = 6  # TC_PRIO_INTERACTIVE of linux/pkt_sched.h: the band that goes first in a queue of this machine
_KEEPALIVE: Final = 60.0
_RESPONSE_HEADERS_MAX: Final = 64


class UnreachableError(LinkError):
    """There is no way to the hub now: the tunnel's interface is not there."""


class Connections:
    """One pool for bodies and one for small requests. `meter` counts what each socket carries."""

    def __init__(self, way: Way, uplink: Uplink, meter: Meter) -> None:
        self._way, self._uplink, self._meter = way, uplink, meter
        self._pools: dict[bool, aiohttp.ClientSession] = {}  # by whether they carry bodies
        self._users: Counter[aiohttp.ClientSession] = Counter()

    def check(self) -> None:
        """Raises UnreachableError when there is no tunnel to go through."""
        if self._way.interface and not interface_is_up(self._way.interface):
            raise UnreachableError

    @contextlib.asynccontextmanager
    async def pool(self, *, bodies: bool) -> AsyncIterator[aiohttp.ClientSession]:
        """The pool for one request."""
        if bodies not in self._pools:
            self._pools[bodies] = self._make_pool(0 if bodies else _INTERACTIVE)
        pool = self._pools[bodies]
        self._users[pool] += 1
        try:
            yield pool
        finally:
            self._users[pool] -= 1
            if not self._users[pool]:
                del self._users[pool]
                if pool not in self._pools.values():
                    await pool.close()

    async def renew(self) -> None:
        """What is asked from now on gets new connections; what is under way keeps those that it has."""
        pools, self._pools = list(self._pools.values()), {}
        for pool in pools:
            if pool not in self._users:
                await pool.close()

    def make_socket(self, priority: int, address: Any) -> socket.socket:
        """A socket in the tunnel that is counted. `address`: as getaddrinfo gives it. Raises OSError."""
        family, kind, protocol, _, _ = address
        made = socket.socket(family, kind, protocol)
        try:
            self._prepare(made)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, priority)
        except OSError:
            made.close()
            raise
        self._meter.watch(made)
        return made

    def _make_pool(self, priority: int) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            limit=0,
            use_dns_cache=False,
            keepalive_timeout=_KEEPALIVE,
            socket_factory=functools.partial(self.make_socket, priority),
        )
        return aiohttp.ClientSession(
            connector=connector,
            trust_env=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            headers={"User-Agent": f"appliance/{__version__}", "Accept-Encoding": "identity"},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._uplink.connect_seconds),
            max_headers=_RESPONSE_HEADERS_MAX,
        )

    def _prepare(self, made: socket.socket) -> None:
        stall = self._uplink.stall_seconds
        if self._way.interface:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, self._way.interface.encode("ascii") + b"\0")
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(stall * 1000))
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, max(1, int(stall)))
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, max(1, int(stall / 3)))
        congestion.choose(made)
