"""A TCP relay between sender and hub that reads along: which offsets the hub acknowledged, and where a PATCH began.

It tells whether bytes that the hub had said are durable were sent again.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from support.processes import free_port

_PATCH: Final = re.compile(rb"PATCH (\S+) HTTP/1\.1\r\n", re.ASCII)
_TARGET: Final = re.compile(rb"(?:PATCH|HEAD|GET|POST|DELETE) (\S+) HTTP/1\.1\r\n", re.ASCII)
_LOCATION: Final = re.compile(rb"\r\nLocation: (\S+)\r\n", re.ASCII | re.IGNORECASE)
_OFFSET: Final = re.compile(rb"\r\nUpload-Offset: (\d+)\r\n", re.ASCII | re.IGNORECASE)


@dataclass
class Seen:
    """Facts of every connection so far."""

    acknowledged: dict[str, int] = field(default_factory=dict)  # upload → highest offset that the hub gave out
    sent_again: list[str] = field(default_factory=list)  # a sentence for each PATCH that began before it
    patches: int = 0
    bytes_up: int = 0


class RecordingProxy:
    """Listens on `port` of loopback and relays to `target`, until closed."""

    def __init__(self, target: int) -> None:
        self.port, self._target = free_port(), target
        self.seen = Seen()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=64)
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        self._threads.append(threading.Thread(target=work, args=arguments, daemon=True))
        self._threads[-1].start()

    def close(self) -> None:
        """Takes no more connections; those that are open must have ended at one end."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in list(self._threads):
            thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                hub = socket.create_connection(("127.0.0.1", self._target), 5)
            except OSError:
                client.close()
                continue
            for end in (client, hub):
                end.settimeout(None)
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            conversation = _Conversation(self.seen, self._lock)
            self._start(_pump, client, hub, conversation.up)
            self._start(_pump, hub, client, conversation.down)


class _Conversation:
    """One connection, as read along. A head that is cut in two by a read is kept until its blank line is here."""

    def __init__(self, seen: Seen, lock: threading.Lock) -> None:
        self._seen, self._lock = seen, lock
        self._target = ""
        self._up = self._down = b""

    def up(self, data: bytes) -> None:
        self._up += data
        with self._lock:
            self._seen.bytes_up += len(data)
            while (match := _TARGET.search(self._up)) and (end := self._up.find(b"\r\n\r\n", match.start())) >= 0:
                head, self._up = self._up[match.start() : end + 4], self._up[end + 4 :]
                self._target = match.group(1).decode().partition("?")[0]
                self._request(head)
        self._up = self._up[-4096:]

    def _request(self, head: bytes) -> None:
        offset = _OFFSET.search(head)
        if not _PATCH.match(head) or not offset:
            return
        self._seen.patches += 1
        at, durable = int(offset.group(1)), self._seen.acknowledged.get(self._target, 0)
        if at < durable:
            self._seen.sent_again.append(f"{self._target}: sent from {at}, and {durable} bytes were durable")

    def down(self, data: bytes) -> None:
        self._down += data
        with self._lock:
            while (start := self._down.find(b"HTTP/1.1 ")) >= 0 and (end := self._down.find(b"\r\n\r\n", start)) >= 0:
                head, self._down = self._down[start : end + 4], self._down[end + 4 :]
                offset, location = _OFFSET.search(head), _LOCATION.search(head)
                target = urlsplit(location.group(1).decode()).path if location else self._target
                if offset and head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 201", b"HTTP/1.1 204")):
                    known = self._seen.acknowledged.get(target, 0)
                    self._seen.acknowledged[target] = max(known, int(offset.group(1)))
        self._down = self._down[-4096:]


def _pump(source: socket.socket, target: socket.socket, read_along: Callable[[bytes], None]) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            read_along(data)
            target.sendall(data)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
    source.close()
