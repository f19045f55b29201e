"""How fast a body is given to the kernel, and in what pieces. Pure: the time is an argument.

The cap is of what the uplink carries, so every payload byte counts for more than one: TCP, IP and the tunnel add their
headers to each segment. What is ahead of the cap by more than a tenth of a second waits.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

BURST_SECONDS: Final = 0.1
PIECE_SECONDS: Final = 0.05
UNSENT_SECONDS: Final = 0.25
QUEUE_SECONDS: Final = 0.15
_PIECE_MAX: Final = 65536
_FIRST_SEGMENTS: Final = 10  # RFC 6928: what TCP itself starts with
_UNSENT_MIN: Final = 2048
_UNSENT_MAX: Final = 262_144
_TCP_HEADERS: Final = 20 + 20 + 12  # IPv4, TCP, and the timestamps in its options
_TUNNEL_HEADERS: Final = 20 + 8 + 32 + 8  # IPv4, UDP, WireGuard, and on average half of its padding to 16
_CHUNK_ENDS: Final = 4  # RFC 9112 7.1: a chunk is its length in hex, a line end, the bytes, a line end


class Pace(msgspec.Struct, frozen=True):
    """`free_at`: when the line is through with what it was given, in monotonic seconds."""

    free_at: float = float("-inf")

    def after(self, count: float, rate: float | None, now: float) -> Pace:
        """The pace after `count` bytes (on the uplink) were given to it. `rate`: bytes a second; None: no cap."""
        if rate is None:
            return Pace()
        return Pace(max(self.free_at, now) + count / rate)

    def pause(self, now: float) -> float:
        """Seconds until the next piece may go."""
        return max(0.0, self.free_at - BURST_SECONDS - now)


class Weight(msgspec.Struct, frozen=True):
    """What the uplink carried, in bytes; `stat_bytes` of them for stat studies."""

    bytes: int = 0
    stat_bytes: int = 0


def on_uplink(payload: int, segments: int, *, tunnel: bool) -> int:
    """What so many TCP segments weigh on the uplink, in bytes."""
    return payload + segments * (_TCP_HEADERS + (_TUNNEL_HEADERS if tunnel else 0))


def weight(segment: int, *, tunnel: bool) -> float:
    """What a payload byte weighs on the uplink when segments are full. `segment`: payload bytes of one."""
    return on_uplink(segment, 1, tunnel=tunnel) / segment


def piece_bytes(rate: float, cap: float | None, segment: int) -> int:
    """How much to give to the kernel at once: a twentieth of a second of the line, in whole segments.

    On a slow line its queue runs empty between two pieces, so that one which does not fill its last segment wastes
    headers. `rate`: bytes a second as measured, 0 when not known; `segment`: payload bytes of one.
    """
    wanted = min([value for value in (rate, cap) if value], default=0.0) * PIECE_SECONDS
    whole = max(1, int(min(wanted, _PIECE_MAX)) // segment) * segment
    return whole - len(f"{whole:x}") - _CHUNK_ENDS


class RoundTrip(NamedTuple):
    """Of one connection, in seconds: the shortest ever, and of late. What lies between them is a queue."""

    shortest: float = 0.0
    late: float = 0.0


def window_bytes(rate: float, trip: RoundTrip, segment: int) -> int:
    """With how much under way or waiting in the kernel another piece may follow: what the line holds, and a little.

    TCP alone fills whatever queue a modem has, and on a line of 64 kbit/s what is to overtake would wait behind that
    for seconds. While no queue is seen the line may carry more than was measured, and twice as much is tried. `rate`:
    the highest of late; 0 when not known.
    """
    if not rate:
        return _FIRST_SEGMENTS * segment
    queued = trip.late - trip.shortest > QUEUE_SECONDS
    held = trip.shortest * (1 if queued else 2)
    return int(rate * (held + QUEUE_SECONDS)) + segment


def unsent_bytes(rate: float, cap: float | None) -> int:
    """How much may wait unsent in the kernel: a quarter of a second of the line."""
    known = [value for value in (rate, cap) if value]
    return min(max(int(min(known, default=0.0) * UNSENT_SECONDS), _UNSENT_MIN), _UNSENT_MAX)
