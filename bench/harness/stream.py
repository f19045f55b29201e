"""What one end of a TCP connection sent, from its packets: bytes that went again, and uploads. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field

_TARGET = re.compile(rb"^([A-Z]+) (\S+) ")
_FIELD = re.compile(rb"^(upload-offset|content-length|transfer-encoding):[ \t]*(\S+)", re.IGNORECASE | re.MULTILINE)
_HEAD_MAX = 65536


@dataclass
class Uploads:
    """Which bytes of which upload were sent, over all connections: `[start, end)` of each PATCH by its target."""

    ranges: dict[bytes, list[list[int]]] = field(default_factory=lambda: defaultdict(list))

    def totals(self) -> tuple[int, int]:
        """Bytes of uploads that were sent, each once; and those that were sent again."""
        once = sent = 0
        for spans in self.ranges.values():
            end = 0
            for start, stop in sorted(spans):
                sent += stop - start
                once += max(0, stop - max(start, end))
                end = max(end, stop)
        return once, sent - once


class Requests:
    """Reads the requests of one HTTP/1.1 connection as they leave; of anything else it makes nothing."""

    def __init__(self, uploads: Uploads) -> None:
        self._uploads = uploads
        self._buffer = bytearray()
        self._body = 0  # bytes of body, or of this chunk, still to come
        self._chunked = False
        self._span: list[int] | None = None
        self._is_http = True

    def feed(self, data: bytes) -> None:
        """Takes what was sent next."""
        self._buffer += data
        while self._is_http and self._step():
            pass
        if not self._is_http:
            self._buffer.clear()

    def _step(self) -> bool:
        """Reads one thing; False when more must come first."""
        if self._body:
            return self._take_body()
        mark = b"\r\n" if self._chunked else b"\r\n\r\n"
        at = self._buffer.find(mark)
        if at < 0:
            self._is_http = len(self._buffer) < _HEAD_MAX
            return False
        head = bytes(self._buffer[:at])
        del self._buffer[: at + len(mark)]
        if self._chunked:
            self._begin_chunk(head)
        else:
            self._begin_request(head)
        return True

    def _take_body(self) -> bool:
        taken = min(self._body, len(self._buffer))
        del self._buffer[:taken]
        self._body -= taken
        if self._span is not None:
            self._span[1] += taken
        return taken > 0

    def _begin_chunk(self, size: bytes) -> None:
        if not size:  # the end of the chunk before, or of the last one
            return
        try:
            self._body = int(size, 16)
        except ValueError:
            self._is_http = False
            return
        self._chunked = self._body > 0

    def _begin_request(self, head: bytes) -> None:
        request = _TARGET.match(head.lstrip())  # the end of a chunked body before it
        if request is None:
            self._is_http = False
            return
        fields = {name.lower(): value for name, value in _FIELD.findall(head)}
        self._chunked = fields.get(b"transfer-encoding", b"").lower() == b"chunked"
        self._body = int(fields.get(b"content-length", b"0"))
        self._span = None
        if request.group(1) == b"PATCH":
            start = int(fields.get(b"upload-offset", b"0"))
            self._span = [start, start]
            self._uploads.ranges[request.group(2)].append(self._span)


class Connection:
    """One way of one TCP connection, as its sender's network sees it: in order, but for what is sent again."""

    def __init__(self, first: int, uploads: Uploads) -> None:
        self._next = first  # sequence number
        self._requests = Requests(uploads)
        self.new = 0  # bytes
        self.again = 0

    def take(self, sequence: int, payload: bytes) -> None:
        """A packet of it."""
        ahead = (sequence - self._next + 0x8000_0000) % 0x1_0000_0000 - 0x8000_0000
        known = min(len(payload), max(0, -ahead))
        self.again += known
        self.new += len(payload) - known
        if known < len(payload):
            self._next = (sequence + len(payload)) % 0x1_0000_0000
            self._requests.feed(payload[known:])
