"""HTTP to the hub: sockets that stay in the tunnel, requests with an end, and bodies that can stop at any byte.

What the kernel does not do by itself is set here. TCP_NOTSENT_LOWAT: only a quarter of a second of unsent bytes waits
in the kernel, so that a stat study need not wait behind them. TCP_USER_TIMEOUT: a dead connection ends after
`stall_seconds` and not after a quarter of an hour. BBR where the kernel has it: a lossy radio link is not taken for a
full one (docs/decisions/0004). A closed socket says nothing of what the hub has; only the hub does.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import socket
import struct
import termios
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from yarl import URL

from appliance import __version__
from appliance.clock import now_ms
from appliance.config import Uplink
from appliance.errors import LinkError
from appliance.link import rate as rates
from appliance.link.rate import Rate
from appliance.link.tunnel import Way, interface_is_up
from appliance.upload.client import Answer, Request

SAMPLE_SECONDS: Final = 0.25
_CHUNK_MIN: Final = 2048
_CHUNK_MAX: Final = 65536
_CHUNK_SECONDS: Final = 0.05
_UNSENT_MIN: Final = 8192
_UNSENT_MAX: Final = 262144
_UNSENT_SECONDS: Final = 0.25
_KEEPALIVE: Final = 60.0
_RESPONSE_HEADERS_MAX: Final = 64
_ANSWER_MAX: Final = 4096


class UnreachableError(LinkError):
    """There is no way to the hub now: the tunnel's interface is not there."""


class Body(aiohttp.payload.Payload):
    """The bytes of an open file from `start` to `end`, as a chunked request body that may be told to stop.

    `sent` counts the bytes given to the kernel, `acknowledged` those that the hub's TCP has taken (an estimate, for
    people). `broken`: the file ended early. `fault`: the error that kept it from being read to its end.
    """

    def __init__(self, file: int, start: int, end: int, *, chunk: int, on_end: Callable[[], None]) -> None:
        super().__init__(None, content_type="application/offset+octet-stream")
        self._file, self._start, self._end, self._chunk = file, start, end, chunk
        self._on_end = on_end
        self._transport: asyncio.WriteTransport | None = None
        self._socket: Any = None
        self.sent = 0
        self.acknowledged = 0
        self.broken = False
        self.fault: OSError | None = None
        self.ended = False  # told to stop, or written whole
        self.moved_at = time.monotonic()

    def stop(self) -> None:
        """The body ends at the byte where it is. The upload stays open at the hub."""
        if not self.ended:
            self.ended = True
            self._on_end()

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:  # noqa: ARG002 - aiohttp's signature
        """aiohttp asks this of text bodies only."""
        raise TypeError("a parcel is no text")

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Gives the file to the connection in small pieces, each only when the kernel has sent most of the last."""
        self._transport = writer.transport
        if self._transport is not None:
            self._transport.set_write_buffer_limits(high=0)  # what is written is in the kernel, not in our memory
            self._socket = self._transport.get_extra_info("socket")
            _limit_unsent(self._socket, self._chunk)
        self.moved_at = time.monotonic()
        while not self.ended and self._start + self.sent < self._end:
            piece = self._read()
            if not piece:
                self.broken = self.fault is None
                break
            await writer.write(piece, drain=False)  # type: ignore[call-arg]
            self.sent += len(piece)
            await writer.drain()
            await asyncio.sleep(0)  # a line as fast as loopback never makes `drain` wait, and others want to run
        self.stop()

    def sample(self, now: float) -> int:
        """Updates `acknowledged`; returns the bytes since the last time. `now`: monotonic seconds."""
        waiting = _unacknowledged(self._socket)
        if waiting is None:
            return 0
        more = max(0, self.sent - waiting - self.acknowledged)
        if more:
            self.acknowledged += more
            self.moved_at = now
        return more

    def abort(self) -> None:
        """Drops the connection and what the kernel had not sent: after a cut it would only come late, and twice."""
        if self._transport is not None and self._socket.fileno() >= 0:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()

    def _read(self) -> bytes:
        at = self._start + self.sent
        try:
            return os.pread(self._file, min(self._chunk, self._end - at), at)
        except OSError as error:
            self.fault = error
            return b""


class HubClient:
    """Requests to one hub. Every method raises LinkError when no whole answer came, for whatever reason.

    `rate` is measured from what the hub's TCP acknowledges while bodies are under way.
    """

    def __init__(self, way: Way, uplink: Uplink, secret: str) -> None:
        self._way, self._uplink = way, uplink
        self.secret = secret
        self.rate = Rate()
        self._session: aiohttp.ClientSession | None = None
        self._under_way: dict[asyncio.Timeout, Body | None] = {}

    async def close(self) -> None:
        """Cuts what is under way and every idle connection. The client can be used again."""
        for limit in list(self._under_way):
            _expire(limit)
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def is_moving(self) -> bool:
        """The hub's TCP took bytes of some body a moment ago."""
        recent = time.monotonic() - self._uplink.stall_seconds / 3
        return any(body.acknowledged and body.moved_at > recent for body in self._under_way.values() if body)

    @property
    def chunk_bytes(self) -> int:
        """Size of the pieces of a body: a twentieth of a second of the line."""
        return min(max(int(self.rate.value * _CHUNK_SECONDS), _CHUNK_MIN), _CHUNK_MAX)

    async def ask(self, request: Request, *, seconds: float, limit: int = _ANSWER_MAX) -> tuple[Answer, bytes]:
        """Makes a request without a body. Returns the answer and its body, cut after `limit` + 1 bytes when longer."""
        async with self._bounded(None) as timeout:
            timeout.reschedule(asyncio.get_running_loop().time() + self._uplink.connect_seconds + seconds)
            return await self._exchange(request, None, limit)

    async def stream(self, request: Request, body: Body) -> Answer:
        """Makes a request with a body. It has no time limit while the hub's TCP goes on taking bytes."""
        answer = None
        try:
            async with self._bounded(body):
                answer, _ = await self._exchange(request, body, _ANSWER_MAX)
                return answer
        finally:
            body.stop()
            if answer is None:
                body.abort()

    async def measure(self) -> None:
        """Samples the rate and cuts streams that stand still. Runs for ever beside the requests."""
        before = time.monotonic()
        while True:
            await asyncio.sleep(SAMPLE_SECONDS)
            now = time.monotonic()
            streams = [(limit, body) for limit, body in self._under_way.items() if body is not None]
            count = sum(body.sample(now) for _, body in streams)
            if any(not body.ended for _, body in streams):
                self.rate = rates.add(self.rate, count, now - before)
            before = now
            for limit, body in streams:
                if now - body.moved_at > self._uplink.stall_seconds:
                    _expire(limit)

    @contextlib.asynccontextmanager
    async def _bounded(self, body: Body | None) -> AsyncIterator[asyncio.Timeout]:
        """A request that `close` or its time limit may end; every way in which it can fail becomes LinkError."""
        if self._way.interface and not interface_is_up(self._way.interface):
            raise UnreachableError
        try:
            async with asyncio.timeout(None) as limit:
                self._under_way[limit] = body
                try:
                    yield limit
                finally:
                    del self._under_way[limit]
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:  # ValueError: headers that are none
            raise LinkError(f"no answer from the hub: {type(error).__name__}") from error

    async def _exchange(self, request: Request, body: Body | None, limit: int) -> tuple[Answer, bytes]:
        headers = {**request.headers, "Authorization": f"Bearer {self.secret}"}
        url = URL(self._way.origin + request.target, encoded=True)
        async with self._open_session().request(
            request.method,
            url,
            headers=headers,
            data=body,
            chunked=True if body is not None else None,
            allow_redirects=False,
        ) as response:
            early = body is not None and not body.ended
            if body is not None:
                body.stop()
            content = b""
            while not response.content.at_eof() and len(content) <= limit:
                content += await response.content.read(limit + 1 - len(content))
            if len(content) > limit or early:
                response.close()  # too long, or an answer before the end of the body: the connection is of no more use
            found = {name.lower(): value for name, value in response.headers.items()}
            return Answer(status=response.status, headers=found, now=now_ms()), content

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                limit=0, use_dns_cache=False, keepalive_timeout=_KEEPALIVE, socket_factory=self._make_socket
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                trust_env=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                headers={"User-Agent": f"appliance/{__version__}", "Accept-Encoding": "identity"},
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._uplink.connect_seconds),
                max_headers=_RESPONSE_HEADERS_MAX,
            )
        return self._session

    def _make_socket(self, address: Any) -> socket.socket:
        family, kind, protocol, _, _ = address
        made = socket.socket(family, kind, protocol)
        try:
            self._prepare(made)
        except OSError:
            made.close()
            raise
        return made

    def _prepare(self, made: socket.socket) -> None:
        stall = self._uplink.stall_seconds
        if self._way.interface:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, self._way.interface.encode("ascii") + b"\0")
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(stall * 1000))
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, max(1, int(stall)))
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, max(1, int(stall / 3)))
        with contextlib.suppress(OSError):  # a kernel without it uses its default, which works too
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"bbr")


def _limit_unsent(sock: Any, chunk: int) -> None:
    unsent = min(max(int(chunk / _CHUNK_SECONDS * _UNSENT_SECONDS), _UNSENT_MIN), _UNSENT_MAX)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, unsent)


def _unacknowledged(sock: Any) -> int | None:
    """Bytes in the send queue of a socket that its peer has not acknowledged (SIOCOUTQ); None when it is closed."""
    if sock is None or sock.fileno() < 0:
        return None
    try:
        return int(struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0\0\0\0"))[0])
    except OSError:
        return None


def _expire(limit: asyncio.Timeout) -> None:
    with contextlib.suppress(RuntimeError):  # it is ending by itself just now
        limit.reschedule(asyncio.get_running_loop().time())
