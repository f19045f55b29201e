"""HTTP to the hub: requests with an end, and bodies that can stop at any byte.

What the kernel does not do by itself is done here and in `connections`. TCP_NOTSENT_LOWAT: only a quarter of a second
of unsent bytes waits in the kernel, so that a stat study need not wait behind them. SO_MAX_PACING_RATE: under a cap
nothing leaves in bursts. Small requests have connections of their own: they are never behind a body. A body of which
the hub's TCP says nothing for a second or two is *silent*: the line may be gone, and `on_silence` lets somebody look. A
closed socket says nothing of what the hub has; only the hub does.
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
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from yarl import URL

from appliance.clock import now_ms
from appliance.config import Uplink
from appliance.errors import LinkError
from appliance.link import rate as rates
from appliance.link.pace import Pace, RoundTrip, piece_bytes, unsent_bytes, weight, window_bytes
from appliance.link.rate import Rate
from appliance.link.tunnel import Way
from appliance.store_forward import congestion
from appliance.store_forward.connections import Connections
from appliance.store_forward.meter import Meter, read_round_trip, read_silence
from appliance.upload.client import Answer, Request

SAMPLE_SECONDS: Final = 0.25
_LATE_SAMPLES: Final = 40  # ten seconds of sending
_SHORTEST_WAIT: Final = 0.002
_SILENT_SECONDS: Final = 1.0  # and a half more on top of two round trips
_LOOK_SECONDS: Final = 0.05  # how soon a body that waits for its pace sees that it is to stop
_SO_MAX_PACING_RATE: Final = 47  # asm-generic/socket.h; Python 3.11 has no name for it
_NO_PACING: Final = 0xFFFFFFFF
_SEGMENT_MIN: Final = 536  # RFC 9293 3.7.1: what any host takes
_ANSWER_MAX: Final = 4096


class Pacer:
    """How fast bodies may go (`link.pace`), and how fast the line is found to be. One for all bodies to the hub."""

    def __init__(self, *, tunnel: bool) -> None:
        self.cap: float | None = None  # bytes a second on the uplink
        self.rate = Rate()
        self._tunnel = tunnel
        self._late: deque[float] = deque(maxlen=_LATE_SAMPLES)
        self._bodies: set[Body] = set()
        self._pace = Pace()
        self._spent = 0.0

    def sampled(self, count: int, seconds: float) -> None:
        """The hub's TCP took `count` bytes while `seconds` were spent sending."""
        self.rate = rates.add(self.rate, count, seconds)
        self._late.append(count / seconds)

    def pause(self) -> float:
        """Seconds until the cap lets the next piece go."""
        return self._pace.pause(time.monotonic()) if self.cap is not None else 0.0

    def begins(self, body: Body) -> None:
        """The body gives bytes to its connection from now on."""
        self._bodies.add(body)

    def ends(self, body: Body) -> None:
        """The hub has answered the body, or its connection is gone."""
        self._bodies.discard(body)

    def queue_pause(self, trip: RoundTrip, segment: int) -> float:
        """Seconds until there is room behind what the hub has not acknowledged, of the bodies before too."""
        queued = sum(body.unacknowledged for body in self._bodies)
        if queued <= segment:
            return 0.0
        highest = max([self.rate.value, *self._late])
        over = queued - window_bytes(highest, trip, segment)
        if over <= 0:
            return 0.0
        return min(max(over / highest, _SHORTEST_WAIT), _LOOK_SECONDS) if highest else _SHORTEST_WAIT

    def piece(self, segment: int) -> int:
        """Bytes of the next piece; `segment`: payload bytes of one TCP segment."""
        return piece_bytes(self.rate.value, self.cap, segment)

    def unsent(self) -> int:
        """Bytes that may wait unsent in the kernel."""
        return unsent_bytes(self.rate.value, self.cap)

    def spend(self, payload: int, segment: int) -> None:
        """So much of a body was given to the kernel."""
        self._give(payload * weight(segment, tunnel=self._tunnel))

    def settle(self, out: int) -> None:
        """`out` bytes have left by the uplink since the start: what was more than `spend` thought counts as well."""
        self._give(max(0.0, out - self._spent))

    def _give(self, count: float) -> None:
        self._spent += count
        self._pace = self._pace.after(count, self.cap, time.monotonic())


class Body(aiohttp.payload.Payload):
    """The bytes of an open file from `start` to `end`, as a chunked request body that keeps to `pacer` and may be told
    to stop.

    `sent` counts the bytes given to the kernel, `acknowledged` those that the hub's TCP has taken (an estimate, for
    people). `stat`: it is of a stat study now. `broken`: the file ended early. `fault`: the error that kept it from
    being read to its end.
    """

    def __init__(self, file: int, start: int, end: int, *, pacer: Pacer, on_end: Callable[[], None]) -> None:
        super().__init__(None, content_type="application/offset+octet-stream")
        self._file, self._start, self._end, self._pacer = file, start, end, pacer
        self._on_end = on_end
        self._transport: asyncio.WriteTransport | None = None
        self._socket: Any = None
        self._set = (0, 0)  # unsent bytes and pacing that the socket was told
        self._renewed_at = float("-inf")
        self._awaits_since = time.monotonic()  # nothing was unacknowledged then
        self.stat = False
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
        segment = _segment_of(self._socket)
        self._pacer.begins(self)
        self.moved_at = time.monotonic()
        while not self.ended and self._start + self.sent < self._end:
            if pause := self._pacer.pause() or self._pacer.queue_pause(read_round_trip(self._socket), segment):
                await self._wait(pause)
                continue
            self._tell_socket()
            piece = self._read(self._pacer.piece(segment))
            if not piece:
                self.broken = self.fault is None
                break
            await writer.write(piece, drain=False)  # type: ignore[call-arg]
            self.sent += len(piece)
            self._pacer.spend(len(piece), segment)
            await writer.drain()
            await asyncio.sleep(0)  # a line as fast as loopback never makes `drain` wait, and others want to run
        self.stop()

    @property
    def unacknowledged(self) -> int:
        """Bytes given to the kernel that the hub's TCP has not taken."""
        return unacknowledged(self._socket) or 0

    async def _wait(self, pause: float) -> None:
        """For the pace. A line that has taken all that it was given does not stand still meanwhile."""
        if not self.unacknowledged:
            self.moved_at = time.monotonic()
        await asyncio.sleep(min(pause, _LOOK_SECONDS))

    def _tell_socket(self) -> None:
        """What may wait unsent, and the pace; both change with the line and with the hours."""
        pacer = self._pacer
        wanted = (pacer.unsent(), _NO_PACING if pacer.cap is None else min(int(pacer.cap), _NO_PACING - 1))
        if wanted == self._set or self._socket is None or self._socket.fileno() < 0:
            return
        self._set = wanted
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, wanted[0])
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_MAX_PACING_RATE, struct.pack("=I", wanted[1]))

    def is_on(self, descriptor: int) -> bool:
        """Whether this body uses that socket."""
        return self._socket is not None and self._socket.fileno() == descriptor

    def sample(self, now: float) -> int:
        """Updates `acknowledged`; returns the bytes since the last time, and keeps the connection from a pause of BBR.
        `now`: monotonic seconds.
        """
        waiting = unacknowledged(self._socket)
        if waiting is None:
            return 0
        if now - self._renewed_at > congestion.RENEW_SECONDS:
            self._renewed_at = now
            congestion.renew(self._socket)
        if not waiting:
            self._awaits_since = now
        more = max(0, self.sent - waiting - self.acknowledged)
        if more:
            self.acknowledged += more
            self.moved_at = now
        return more

    def is_silent(self, now: float) -> bool:
        """The hub's TCP has said nothing of what it was sent for longer than any line should take to answer."""
        silence = min(read_silence(self._socket), now - self._awaits_since)
        return silence > max(_SILENT_SECONDS, 2 * read_round_trip(self._socket).late + _SILENT_SECONDS / 2)

    def abort(self) -> None:
        """Drops the connection and what the kernel had not sent: after a cut it would only come late, and twice."""
        if self._transport is not None and self._socket.fileno() >= 0:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()

    def _read(self, count: int) -> bytes:
        at = self._start + self.sent
        try:
            return os.pread(self._file, min(count, self._end - at), at)
        except OSError as error:
            self.fault = error
            return b""


class HubClient:
    """Requests to one hub. Every method raises LinkError when no whole answer came, for whatever reason.

    `rate` is measured from what the hub's TCP acknowledges while bodies are under way, and `meter` counts what goes.
    """

    def __init__(self, way: Way, uplink: Uplink, secret: str) -> None:
        self._way, self._uplink = way, uplink
        self.secret = secret
        self.pacer = Pacer(tunnel=bool(way.interface))
        self.meter = Meter(tunnel=bool(way.interface))
        self.on_silence: Callable[[], None] = lambda: None
        self._connections = Connections(way, uplink, self.meter)
        self._under_way: dict[asyncio.Timeout, Body | None] = {}

    async def close(self) -> None:
        """Cuts what is under way and every idle connection. The client can be used again."""
        for limit in list(self._under_way):
            _expire(limit)
        await self._connections.renew()

    async def renew(self) -> None:
        """What is asked from now on goes over new connections."""
        await self._connections.renew()

    def cut_silent(self) -> None:
        """Cuts the bodies that are silent still: the line is back, and their connections wait for longer and longer
        before they try again.
        """
        now = time.monotonic()
        for limit, body in self._under_way.items():
            if body is not None and body.is_silent(now):
                _expire(limit)

    @property
    def is_silent(self) -> bool:
        """Some body is."""
        now = time.monotonic()
        return any(body.is_silent(now) for body in self._under_way.values() if body is not None)

    def is_moving(self) -> bool:
        """The hub's TCP took bytes of some body a moment ago."""
        recent = time.monotonic() - self._uplink.stall_seconds / 3
        return any(body.acknowledged and body.moved_at > recent for body in self._under_way.values() if body)

    @property
    def rate(self) -> Rate:
        """The line as measured."""
        return self.pacer.rate

    async def ask(
        self, request: Request, *, seconds: float, limit: int = _ANSWER_MAX, ahead: bool = False
    ) -> tuple[Answer, bytes]:
        """Makes a request without a body, or with a small one. Returns the answer and its body, cut after `limit` + 1
        bytes when longer. `ahead`: over a connection that is then there for the body to follow.
        """
        async with self._bounded(None) as timeout:
            timeout.reschedule(asyncio.get_running_loop().time() + self._uplink.connect_seconds + seconds)
            return await self._exchange(request, None, limit, bodies=ahead)

    async def stream(self, request: Request, body: Body) -> Answer:
        """Makes a request with a body. It has no time limit while the hub's TCP goes on taking bytes."""
        answer = None
        try:
            async with self._bounded(body):
                answer, _ = await self._exchange(request, body, _ANSWER_MAX, bodies=True)
                return answer
        finally:
            body.stop()
            self.pacer.ends(body)
            if answer is None:
                body.abort()

    async def join(self, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to another port of the hub, in the tunnel as all are."""
        self._connections.check()
        host = str(URL(self._way.origin).host)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        made = self._connections.make_socket(0, (family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ()))
        made.setblocking(False)
        try:
            async with asyncio.timeout(self._uplink.connect_seconds):
                await asyncio.get_running_loop().sock_connect(made, (host, port))
            return await asyncio.open_connection(sock=made)
        except (TimeoutError, OSError) as error:
            made.close()
            raise LinkError(f"port {port} of the hub can't be reached: {type(error).__name__}") from error

    async def measure(self) -> None:
        """Samples the rate and cuts streams that stand still. Runs for ever beside the requests."""
        before = time.monotonic()
        while True:
            await asyncio.sleep(SAMPLE_SECONDS)
            now = time.monotonic()
            streams = [(limit, body) for limit, body in self._under_way.items() if body is not None]
            count = sum(body.sample(now) for _, body in streams)
            if any(not body.ended for _, body in streams):
                self.pacer.sampled(count, now - before)
            before = now
            self._weigh()
            for limit, body in streams:
                if now - body.moved_at > self._uplink.stall_seconds:
                    _expire(limit)
            if any(body.is_silent(now) for _, body in streams):
                self.on_silence()

    def _weigh(self) -> None:
        """Counts what went, and lets the cap know of it."""
        stat = [body for body in self._under_way.values() if body is not None and body.stat]
        self.meter.look(lambda descriptor: any(body.is_on(descriptor) for body in stat))
        self.pacer.settle(self.meter.out)

    @contextlib.asynccontextmanager
    async def _bounded(self, body: Body | None) -> AsyncIterator[asyncio.Timeout]:
        """A request that `close` or its time limit may end; every way in which it can fail becomes LinkError."""
        self._connections.check()
        try:
            async with asyncio.timeout(None) as limit:
                self._under_way[limit] = body
                try:
                    yield limit
                finally:
                    self._weigh()
                    del self._under_way[limit]
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:  # ValueError: headers that are none
            raise LinkError(f"no answer from the hub: {type(error).__name__}") from error

    async def _exchange(self, request: Request, body: Body | None, limit: int, *, bodies: bool) -> tuple[Answer, bytes]:
        headers = {**request.headers, "Authorization": f"Bearer {self.secret}"}
        url = URL(self._way.origin + request.target, encoded=True)
        async with (
            self._connections.pool(bodies=bodies) as pool,
            pool.request(
                request.method,
                url,
                headers=headers,
                data=body if body is not None else request.content or None,
                chunked=True if body is not None else None,
                allow_redirects=False,
            ) as response,
        ):
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


def _segment_of(sock: Any) -> int:
    """Payload bytes of one segment on this connection."""
    try:
        return max(_SEGMENT_MIN, int(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)))
    except (OSError, AttributeError):
        return _SEGMENT_MIN


def unacknowledged(sock: Any) -> int | None:
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
