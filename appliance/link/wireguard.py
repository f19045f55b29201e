"""Is the tunnel up? Read from `wg show INTERFACE dump` and judged. Pure: text and times in, facts out.

WireGuard itself says only when the last handshake was and how many bytes went each way; a peer that is gone, one with
another key and one that takes our handshake for a replay look all the same: silent. So the judge looks at what was
sent since the last byte came, and `diagnose` at what this machine can know of the cause.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from appliance.model.tunnel import Problem, TunnelState

UNANSWERED_BYTES: Final = 444  # three handshake initiations: what a peer may owe an answer to
KEEPALIVE_BYTES: Final = 32  # an empty packet; nobody answers those
_FIELDS_OF_INTERFACE: Final = 4
_FIELDS_OF_PEER: Final = 8
_KEY: Final = re.compile(r"[A-Za-z0-9+/]{43}=", re.ASCII)
_NONE: Final = "(none)"


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """A peer of the interface. Its preshared key is left out; `preshared_key` reads it where it is needed."""

    key: str
    endpoint: str = ""  # ADDRESS:PORT
    allowed: tuple[str, ...] = ()
    handshake_at: int = 0  # Unix seconds; 0: never since the peer was set
    received: int = 0  # bytes
    sent: int = 0
    keepalive: int = 0  # seconds; 0: off


class Interface(msgspec.Struct, frozen=True, kw_only=True):
    """A WireGuard interface. The private key is left out."""

    public_key: str  # empty when it has no private key
    mark: int = 0  # of the tunnel's own packets
    peers: tuple[Peer, ...] = ()

    def peer(self, key: str) -> Peer | None:
        """The peer with this public key."""
        return next((peer for peer in self.peers if peer.key == key), None)


def parse_dump(text: str) -> Interface:
    """What `wg show INTERFACE dump` printed. Raises ValueError for anything else; the message holds no key."""
    lines = [line.split("\t") for line in text.splitlines()]
    if not lines or len(lines[0]) != _FIELDS_OF_INTERFACE:
        raise ValueError("the first line is not that of an interface")
    _private, public, _port, mark = lines[0]
    return Interface(
        public_key="" if public == _NONE else _key(public),
        mark=0 if mark == "off" else int(mark, 0),
        peers=tuple(_peer(fields) for fields in lines[1:]),
    )


def _peer(fields: list[str]) -> Peer:
    if len(fields) != _FIELDS_OF_PEER:
        raise ValueError("a line is not that of a peer")
    key, _shared, endpoint, allowed, handshake, received, sent, keepalive = fields
    return Peer(
        key=_key(key),
        endpoint="" if endpoint == _NONE else endpoint,
        allowed=() if allowed == _NONE else tuple(allowed.split(",")),
        handshake_at=_count(handshake),
        received=_count(received),
        sent=_count(sent),
        keepalive=0 if keepalive == "off" else _count(keepalive),
    )


def _key(text: str) -> str:
    if not _KEY.fullmatch(text):
        raise ValueError("a key is not 32 bytes in Base64")
    return text


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ValueError("a field is not a number")
    return int(text)


def preshared_key(text: str, key: str) -> str:
    """The preshared key of a peer in a dump; empty when it has none. A secret: never log or store it."""
    for line in text.splitlines()[1:]:
        fields = line.split("\t")
        if fields[0] == key and len(fields) == _FIELDS_OF_PEER and fields[1] != _NONE:
            return fields[1]
    return ""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """In seconds."""

    stale: float = 180.0  # a handshake older than this carries nothing (whitepaper 6.1, Reject-After-Time)
    silent: float = 30.0


class Tunnel(msgspec.Struct, frozen=True, kw_only=True):
    """The tunnel as judged. `…_seen` and `heard_at` are monotonic seconds, so that no change of the clock matters."""

    state: TunnelState = TunnelState.DOWN
    since: int = 0  # of this state, Unix ms
    handshake_at: int = 0  # the last one ever known, Unix s by our clock; 0: never
    handshake_seen: float = float("-inf")  # when it was, as well as that is known
    received: int = 0
    sent: int = 0
    heard_at: float = 0.0  # bytes came
    sent_then: int = 0  # `sent` at that time
    counted: bool = False  # the counters are those of an interface that was read


def judge(before: Tunnel, peer: Peer | None, limits: Limits, *, now: float, now_ms: int) -> Tunnel:
    """The tunnel now. `before`: as judged last, or what is known at first; `peer`: None when it, or the interface, is
    not there.
    """
    if peer is None:
        return _in_state(msgspec.structs.replace(before, counted=False), TunnelState.DOWN, now_ms)
    heard = _hear(before, peer, now, now_ms)
    silence = now - heard.heard_at
    empty = KEEPALIVE_BYTES * (1 + silence / peer.keepalive) if peer.keepalive else 0
    unanswered = silence >= limits.silent and heard.sent - heard.sent_then >= UNANSWERED_BYTES + empty
    fresh = now - heard.handshake_seen < limits.stale or (before.counted and heard.received > before.received)
    if peer.handshake_at and fresh and not unanswered:
        return _in_state(heard, TunnelState.UP, now_ms)
    return _in_state(heard, TunnelState.STALE if heard.handshake_at else TunnelState.DOWN, now_ms)


def _in_state(tunnel: Tunnel, state: TunnelState, now_ms: int) -> Tunnel:
    since = tunnel.since if state is tunnel.state and tunnel.since else now_ms
    return msgspec.structs.replace(tunnel, state=state, since=since)


def _hear(last: Tunnel, peer: Peer, now: float, now_ms: int) -> Tunnel:
    """Takes the counters over. A peer that was set anew counts from nothing, and its wait for an answer begins anew."""
    anew = not last.counted or peer.received < last.received or peer.sent < last.sent
    came = peer.received > last.received and not anew
    handshake_at, seen = last.handshake_at, last.handshake_seen
    if peer.handshake_at and (peer.handshake_at != last.handshake_at or not last.counted):
        # Seen for the first time, its age is known by the clock alone; one of the future is a clock that was set back.
        age = 0.0 if last.counted else max(0.0, now_ms / 1000 - peer.handshake_at)
        handshake_at, seen = peer.handshake_at, now - age
    return msgspec.structs.replace(
        last,
        handshake_at=handshake_at,
        handshake_seen=seen,
        received=peer.received,
        sent=peer.sent,
        heard_at=now if came or anew else last.heard_at,
        sent_then=peer.sent if came or anew else last.sent_then,
        counted=True,
    )


class Signs(msgspec.Struct, frozen=True, kw_only=True):
    """What this machine knows beside the counters."""

    tools: Problem = Problem.NONE  # why the interface could not be read
    interface_on: bool = True
    usable_uplinks: bool = True  # one at least has a device with a carrier, or none is configured
    address_known: bool = True  # of the endpoint
    clock_ahead_of: int = 0  # Unix s that this clock must have passed: it was kept, or the last handshake
    now: int = 0  # Unix s


def diagnose(interface: Interface | None, key: str, tunnel: Tunnel, signs: Signs) -> Problem:
    """Why the tunnel to the peer `key` is not up; NONE when it is, or nothing is known to be wrong."""
    if interface is None:
        return signs.tools or Problem.TOOL_FAILS
    peer = interface.peer(key)
    found = (
        (not signs.interface_on, Problem.INTERFACE_OFF),
        (not interface.public_key, Problem.NO_KEY),
        (tunnel.state is TunnelState.UP, Problem.NONE),
        (peer is None and bool(interface.peers), Problem.OTHER_PEER),
        (signs.now < signs.clock_ahead_of, Problem.CLOCK_BACK),
        (not signs.usable_uplinks, Problem.NO_UPLINK),
        (not signs.address_known, Problem.NO_ADDRESS),
        (tunnel.state is TunnelState.DOWN, Problem.NO_ANSWER),
    )
    return next((problem for true, problem in found if true), Problem.SILENT)
