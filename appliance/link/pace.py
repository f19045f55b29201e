"""How fast a body is given to the kernel, and in what pieces. Pure: the time is an argument.

The cap is of what the uplink carries, so every payload byte counts for more than one: TCP, IP and the tunnel add their
headers to each segment. What is ahead of the cap by more than a tenth of a second waits.
"""

from __future__ import annotations

from typing import Final

import msgspec

BURST_SECONDS: Final = 0.1
PIECE_SECONDS: Final = 0.05
UNSENT_SECONDS: Final = 0.25
_PIECE_MIN: Final = 2048
_PIECE_MAX: Final = 65536
_UNSENT_MAX: Final = 262_144
_TCP_HEADERS: Final = 20 + 20 + 12  # IPv4, TCP, and the timestamps in its options
_TUNNEL_HEADERS: Final = 20 + 8 + 32 + 8  # IPv4, UDP, WireGuard, and on average half of its padding to 16
_CHUNK_FRAME: Final = 8  # RFC 9112 7.1: the length of a chunk in up to four hex digits, and two line ends


class Pace(msgspec.Struct, frozen=True):
    """`free_at`: when the line is through with what it was given, in monotonic seconds."""

    free_at: float = float("-inf")

    def after(self, count: int, rate: float | None, now: float) -> Pace:
        """The pace after `count` bytes (on the uplink) were given to it. `rate`: bytes a second; None: no cap."""
        if rate is None:
            return Pace()
        return Pace(max(self.free_at, now) + count / rate)

    def pause(self, now: float) -> float:
        """Seconds until the next piece may go."""
        return max(0.0, self.free_at - BURST_SECONDS - now)


def on_uplink(payload: int, segments: int, *, tunnel: bool) -> int:
    """What so many TCP segments weigh on the uplink, in bytes."""
    return payload + segments * (_TCP_HEADERS + (_TUNNEL_HEADERS if tunnel else 0))


def weight(segment: int, *, tunnel: bool) -> float:
    """What a payload byte weighs on the uplink when segments are full. `segment`: payload bytes of one."""
    return on_uplink(segment, 1, tunnel=tunnel) / segment


def piece_bytes(rate: float, cap: float | None, segment: int) -> int:
    """How much to give to the kernel at once: a twentieth of a second of the line, in whole segments under a cap.

    `rate`: bytes a second as measured, 0 when not known. Under a cap the kernel's queue runs empty between two pieces,
    so that a piece which does not fill its last segment wastes headers.
    """
    if cap is None:
        return min(max(int(rate * PIECE_SECONDS), _PIECE_MIN), _PIECE_MAX)
    segments = max(1, min(int(cap * PIECE_SECONDS), _PIECE_MAX) // segment)
    return segments * segment - _CHUNK_FRAME


def unsent_bytes(rate: float, cap: float | None) -> int:
    """How much may wait unsent in the kernel: a quarter of a second of the line."""
    known = [value for value in (rate, cap) if value]
    return min(max(int(min(known, default=0.0) * UNSENT_SECONDS), _PIECE_MIN), _UNSENT_MAX)
