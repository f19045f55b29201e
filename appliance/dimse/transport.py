"""One connection as PDUs, each with a ceiling and a deadline. It blocks only the thread of its own association."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import time
from typing import Final

from appliance.dimse.pdu import HEADER_SIZE, parse_header
from appliance.errors import UpperLayerError

_READ_AHEAD: Final = 1 << 18  # each read costs a system call and a turn of the interpreter: few and large ones
_FIRST_BUFFER: Final = 1 << 12  # a connection that only asks for an association needs no more
_GOODBYE_SECONDS: Final = 1.0
_GOODBYE_BYTES: Final = 1 << 18


class PeerGoneError(UpperLayerError):
    """The other side closed the connection."""


class PeerSilentError(UpperLayerError):
    """The other side sent nothing, or too slowly, for the time that it has."""


class Transport:
    """Reads whole PDUs from a connected socket into one buffer that grows to the largest PDU seen.

    The socket does not block: it is asked first, and waited for only when it has nothing. A modality on a fast network
    is ahead of us nearly always, so that a wait, and the two options it needs, are the exception.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(0.0)
        self._sock = sock
        self._buffer = bytearray(_FIRST_BUFFER)
        self._view = memoryview(self._buffer)
        self._start = self._end = 0
        self._is_tcp = sock.family in {socket.AF_INET, socket.AF_INET6}

    def read_pdu(self, *, length_max: int, first_byte_within: float, whole_within: float) -> tuple[int, memoryview]:
        """Type and body of the next PDU; the body is a view that is good until the next call. Times in seconds.

        Raises PeerGoneError, PeerSilentError, UpperLayerError (a header that must not be followed), OSError.
        """
        if self._start == self._end:
            self._start = self._end = 0
            self._receive(time.monotonic() + first_byte_within)
        deadline = time.monotonic() + whole_within
        self._have(HEADER_SIZE, deadline)
        kind, length = parse_header(self._view[self._start : self._start + HEADER_SIZE], length_max)
        self._have(HEADER_SIZE + length, deadline)
        body = self._view[self._start + HEADER_SIZE : self._start + HEADER_SIZE + length]
        self._start += HEADER_SIZE + length
        return kind, body

    def has_input(self, *, within: float = 0.0) -> bool:
        """Whether the peer said something, or left, that was not read yet; waits for it `within` seconds."""
        if self._start < self._end or (isinstance(self._sock, ssl.SSLSocket) and self._sock.pending()):
            return True
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        return bool(poll.poll(within * 1000))

    def _have(self, count: int, deadline: float) -> None:
        """Reads until at least `count` bytes stand in the buffer."""
        if self._start + count > len(self._buffer):
            self._make_room(count)
        while self._start + count > self._end:
            self._receive(deadline)

    def _make_room(self, count: int) -> None:
        """Moves what is there to the front of the buffer, or of a larger one (a new one: views of the old may live)."""
        rest = bytes(self._view[self._start : self._end])
        if count > len(self._buffer):
            self._buffer = bytearray(count + _READ_AHEAD)
            self._view = memoryview(self._buffer)
        self._view[: len(rest)] = rest
        self._start, self._end = 0, len(rest)

    def _receive(self, deadline: float) -> None:
        """Takes what there is, at most what the buffer has room for; waits when there is nothing."""
        while True:
            try:
                count = self._sock.recv_into(self._view[self._end :])
                break
            except (BlockingIOError, ssl.SSLWantReadError):
                self._wait(select.POLLIN, deadline)
            except ssl.SSLWantWriteError:
                self._wait(select.POLLOUT, deadline)
        if not count:
            raise PeerGoneError
        self._end += count

    def _wait(self, event: int, deadline: float) -> None:
        left = deadline - time.monotonic()
        if self._is_tcp:
            # Many modalities leave Nagle on: they hold the last piece of an image back until we acknowledge the one
            # before, which Linux would do 40 ms later. The option wears off, so it is set again before each wait.
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        poll = select.poll()
        poll.register(self._sock, event)
        if left <= 0 or not poll.poll(left * 1000):
            raise PeerSilentError

    def send(self, data: bytes, *, within: float) -> None:
        """Sends all of it. Raises PeerSilentError when the peer does not take it within that many seconds, OSError."""
        rest, deadline = memoryview(data), time.monotonic() + within
        while rest:
            try:
                rest = rest[self._sock.send(rest) :]
            except (BlockingIOError, ssl.SSLWantWriteError):
                self._wait(select.POLLOUT, deadline)
            except ssl.SSLWantReadError:
                self._wait(select.POLLIN, deadline)

    def say_goodbye(self) -> None:
        """Lets the peer read our last PDU: closing while its bytes are unread would reset the connection."""
        with contextlib.suppress(OSError, PeerGoneError, PeerSilentError):
            socket.socket.shutdown(self._sock, socket.SHUT_WR)
            deadline, left = time.monotonic() + _GOODBYE_SECONDS, _GOODBYE_BYTES
            while left > 0:
                self._start = self._end = 0
                self._receive(deadline)
                left -= self._end


def tune(sock: socket.socket) -> None:
    """Options of an accepted connection: answers leave at once, and a peer that lost power is noticed."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
