"""What the sockets to the hub weigh on the uplink, both ways, by the kernel's own counts (TCP_INFO)."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from typing import Final, NamedTuple

from appliance.link.pace import RoundTrip, Weight, on_uplink

# struct tcp_info of linux/tcp.h: where these are.
_UNACKNOWLEDGED: Final = 24  # u32, segments that were sent
_LAST_ACK: Final = 56  # u32, milliseconds since the last acknowledgement came
_ROUND_TRIP: Final = 68  # u32, microseconds, smoothed
_BYTES_RECEIVED: Final = 128  # u64
_SEGMENTS_OUT: Final = 136  # u32, and that of those in after it
_SHORTEST_TRIP: Final = 148  # u32, microseconds
_BYTES_SENT: Final = 200  # u64; with what was sent again
_SIZE: Final = 208


class Counts(NamedTuple):
    """Of one socket since it was made. A segment without payload counts too."""

    bytes_out: int = 0
    bytes_in: int = 0
    segments_out: int = 0
    segments_in: int = 0


def read_counts(sock: socket.socket) -> Counts | None:
    """The kernel's counts; None for a socket that is closed, or when the kernel is too old to have them."""
    info = _read_info(sock)
    if info is None:
        return None
    received, out, into = struct.unpack_from("=QII", info, _BYTES_RECEIVED)
    (sent,) = struct.unpack_from("=Q", info, _BYTES_SENT)
    return Counts(sent, received, out, into)


def read_round_trip(sock: socket.socket | None) -> RoundTrip:
    """The connection's round trip; zeros for one that is closed, or when the kernel is too old to tell."""
    info = _read_info(sock)
    if info is None:
        return RoundTrip()
    (late,), (shortest,) = struct.unpack_from("=I", info, _ROUND_TRIP), struct.unpack_from("=I", info, _SHORTEST_TRIP)
    return RoundTrip(shortest / 1e6, late / 1e6)


def read_silence(sock: socket.socket | None) -> float:
    """Seconds since the peer's TCP last acknowledged anything, while segments are under way to it; else 0.

    A peer that has no room for more has acknowledged all that was sent: it is slow, not silent.
    """
    info = _read_info(sock)
    if info is None or not struct.unpack_from("=I", info, _UNACKNOWLEDGED)[0]:
        return 0.0
    return float(struct.unpack_from("=I", info, _LAST_ACK)[0]) / 1000


def _read_info(sock: socket.socket | None) -> bytes | None:
    if sock is None or sock.fileno() < 0:
        return None
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _SIZE)
    except OSError:
        return None
    return info if len(info) >= _SIZE else None


class Meter:
    """`tunnel`: the sockets are in the tunnel. What a socket carried after the last look before it closed is not seen:
    look after each request.
    """

    def __init__(self, *, tunnel: bool) -> None:
        self._tunnel = tunnel
        self._seen: dict[socket.socket, Counts] = {}
        self._weight = Weight()
        self.out = 0  # bytes that left by the uplink, since the start

    def watch(self, sock: socket.socket) -> None:
        """Counts this one from now on."""
        self._seen[sock] = Counts()

    def look(self, is_stat: Callable[[int], bool]) -> None:
        """Adds what each socket carried since the last look. `is_stat`: whether a descriptor carries a stat study."""
        for sock, before in list(self._seen.items()):
            counts = read_counts(sock)
            if counts is None:
                del self._seen[sock]
                continue
            self._seen[sock] = counts
            out = self._on_uplink(counts.bytes_out - before.bytes_out, counts.segments_out - before.segments_out)
            into = self._on_uplink(counts.bytes_in - before.bytes_in, counts.segments_in - before.segments_in)
            self.out += out
            stat = out + into if is_stat(sock.fileno()) else 0
            self._weight = Weight(self._weight.bytes + out + into, self._weight.stat_bytes + stat)

    def take(self) -> Weight:
        """What was carried since the last call."""
        found, self._weight = self._weight, Weight()
        return found

    def _on_uplink(self, payload: int, segments: int) -> int:
        return on_uplink(payload, segments, tunnel=self._tunnel)
