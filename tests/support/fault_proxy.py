"""A TCP relay that is a bad line: cuts at an exact byte, stalls, swallows, is slow. It knows no protocol.

A `Fault` is laid for the first connection in which its marker is seen; each is used once.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

_PIECE = 65536
_TAIL = 256  # of a stream that is kept to find a marker that two reads cut apart


@dataclass
class Fault:
    """After `after` bytes behind the begin of `marker` in the stream `way`, do `what`.

    cut: both sides are closed (`hard`: reset). stall: nothing more is read that way. swallow: it is read and dropped.
    """

    way: Literal["up", "down"]
    after: int
    marker: bytes = b""
    what: Literal["cut", "stall", "swallow"] = "cut"
    hard: bool = False
    sprung: threading.Event = field(default_factory=threading.Event)


class FaultProxy:
    """Listens on a port of loopback and relays to port `target`.

    `rate`: bytes a second up the line, for all connections together, as a modem has it. `delay`: seconds that a byte
    takes each way. `rewrite`: what becomes of the bytes that come down, and up.
    """

    def __init__(self, target: int, *, rate: float | None = None, delay: float = 0.0) -> None:
        self.target, self.rate, self.delay = target, rate, delay
        self.rewrite_down: Callable[[bytes], bytes] = bytes
        self.rewrite_up: Callable[[bytes], bytes] = bytes
        self.faults: list[Fault] = []
        self.bytes_up = 0
        self.connections = self.turned_away = 0
        self.bodies: list[tuple[float, bytes]] = []  # when a PATCH went through, and its request line
        self._lock, self._line = threading.Lock(), threading.Lock()
        self._open: set[_Link] = set()
        self._down = False
        self._listener = socket.socket()
        if rate:  # a modem has no room for megabytes
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(64)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def lay(self, fault: Fault) -> Fault:
        with self._lock:
            self.faults.append(fault)
        return fault

    def go_down(self) -> None:
        """The line fails: what is open is cut, and new connections end at once."""
        self._down = True
        self.cut_all()

    def come_up(self) -> None:
        self._down = False

    def cut_all(self, *, hard: bool = False) -> None:
        for link in list(self._open):
            link.cut(hard=hard)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut_all()

    def take_fault(self, way: str, seen: bytes) -> tuple[Fault, int] | None:
        """The first fault whose marker is in `seen`, and where the marker begins."""
        with self._lock:
            for fault in self.faults:
                at = seen.find(fault.marker)
                if fault.way == way and at >= 0:
                    self.faults.remove(fault)
                    return fault, at
        return None

    def carry(self, way: str, data: bytes) -> None:
        """Takes the time that the line takes for so many bytes."""
        if way == "up":
            with self._line:
                self.bytes_up += len(data)
                if self.rate:
                    time.sleep(len(data) / self.rate)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._down:
                self.turned_away += 1
                client.close()
                continue
            try:
                hub = socket.create_connection(("127.0.0.1", self.target), 5)
            except OSError:
                client.close()
                continue
            hub.settimeout(None)
            self.connections += 1
            link = _Link(self, client, hub)
            self._open.add(link)
            for way in ("up", "down"):
                threading.Thread(target=link.pump, args=(way,), daemon=True).start()

    def forget(self, link: _Link) -> None:
        self._open.discard(link)


class _Link:
    def __init__(self, proxy: FaultProxy, client: socket.socket, hub: socket.socket) -> None:
        self._proxy, self._client, self._hub = proxy, client, hub
        for end in (client, hub):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def cut(self, *, hard: bool) -> None:
        for end in (self._client, self._hub):
            with contextlib.suppress(OSError):
                if hard:
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    end.close()
                else:
                    end.shutdown(socket.SHUT_RDWR)

    def pump(self, way: str) -> None:
        source, sink = (self._client, self._hub) if way == "up" else (self._hub, self._client)
        send = _Delay(sink, self._proxy.delay).send if self._proxy.delay else sink.sendall
        rewrite = self._proxy.rewrite_up if way == "up" else self._proxy.rewrite_down
        piece = _PIECE if way == "down" or not self._proxy.rate else 1400
        tail, count = b"", 0  # what was relayed last, and how much in all
        fault: Fault | None = None
        at = 0  # of the fault, in the stream
        with contextlib.suppress(OSError):
            while data := rewrite(source.recv(piece)):
                self._note(way, tail, data)
                if fault is None and (found := self._proxy.take_fault(way, tail + data)):
                    fault, at = found[0], count - len(tail) + found[1] + found[0].after
                if fault is not None and count + len(data) >= at:
                    keep = max(0, at - count)
                    self._proxy.carry(way, data[:keep])
                    send(data[:keep])
                    fault.sprung.set()
                    if self._spring(fault, source):
                        break
                    continue
                self._proxy.carry(way, data)
                send(data)
                tail, count = (tail + data)[-_TAIL:], count + len(data)
        if self._proxy.delay:
            time.sleep(self._proxy.delay)
        self.cut(hard=False)
        self._proxy.forget(self)
        source.close()

    def _note(self, way: str, tail: bytes, data: bytes) -> None:
        start = (tail[-6:] + data).find(b"PATCH ") if way == "up" else -1
        if start >= 0:
            line = (tail[-6:] + data)[start:].partition(b"\r\n")[0]
            self._proxy.bodies.append((time.monotonic(), line))

    def _spring(self, fault: Fault, source: socket.socket) -> bool:
        """True when the connection is over."""
        if fault.what == "cut":
            self.cut(hard=fault.hard)
            return True
        if fault.what == "stall":
            while source.fileno() >= 0 and source in {self._client, self._hub} and self in self._proxy._open:
                time.sleep(0.02)
            return True
        while source.recv(_PIECE):  # swallow
            pass
        return True


class _Delay:
    """A long cable: what is sent arrives later, as fast as it was sent."""

    def __init__(self, sink: socket.socket, seconds: float) -> None:
        self._sink, self._seconds = sink, seconds
        self._queue: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
        threading.Thread(target=self._work, daemon=True).start()

    def send(self, data: bytes) -> None:
        self._queue.put((time.monotonic() + self._seconds, data))

    def _work(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                at, data = self._queue.get()
                time.sleep(max(0.0, at - time.monotonic()))
                self._sink.sendall(data)
