"""A bad line between the two ends of a tunnel: a UDP relay that delays, queues, loses and is cut as a profile says.

Run as a program in the namespace between site and hub. Until it is told to begin it passes everything on at once. It
is told over a control socket: `{"begin": "vsat-blantyre", "seed": 1}`, or with a line made by hand: `{"begin": "mine",
"spells": [[10, 384], [5, 0], [60, 384]], "round_trip": 0.3}`. With `"calm": true` the line stays as it is in its first
moment, and loses nothing: for what is to be in place before its time begins. Each answer says what was carried, and
what could have been: the integral of the rate over the time that the line was up.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness import control
from harness.profiles import HEADERS, PROFILES, Profile, Spell, chance, steady

_BUFFER = 4 << 20
_AT_ONCE = 0.0002  # seconds: shorter waits are none
OPEN = Profile("open", "nothing in the way", steady(1e9), round_trip=0.0)
Address = tuple[str, int]


@dataclass
class Counts:
    """Of one way. Bytes as they are on the line, with IP and UDP headers."""

    packets: int = 0
    bytes: int = 0  # that were given to the line
    carried: int = 0  # bytes that came through
    lost: int = 0  # packets that did not, in one of these three ways
    full: int = 0
    cut: int = 0


class Way:
    """One way of the line: when a packet that comes now arrives, if it does. Times are seconds from the beginning."""

    def __init__(self, profile: Profile, seed: int, name: str) -> None:
        self.profile, self.timeline = profile, profile.timeline(seed)
        self.counts = Counts()
        self._loss = profile.losses(seed, name)
        self._draw = chance(profile.name, seed, name, "jitter")
        self._position = 0.0  # bits: where in all that the line can carry the last packet ends
        self._arrival = 0.0

    def admit(self, now: float, length: int) -> float | None:
        """When a message of `length` bytes arrives; None when it never does: lost, no room in the queue, or cut.

        What waits or is in the air when the line is cut is gone.
        """
        size = length + HEADERS
        self.counts.packets += 1
        self.counts.bytes += size
        if self._loss.takes():
            self.counts.lost += 1
            return None
        start = max(self._position, self.timeline.bits(now))
        if self.timeline.rate(now) and self.timeline.when(start) - now > self.profile.queue:
            self.counts.full += 1
            return None
        arrival = self.timeline.when(start + size * 8) + self.profile.round_trip / 2
        if self.timeline.is_cut(now, arrival):
            self.counts.cut += 1
            return None
        self._position = start + size * 8
        self.counts.carried += size
        self._arrival = max(self._arrival, arrival + self._draw.uniform(0, self.profile.jitter))
        return self._arrival


class Relay:
    """Both ways, between the site's end, wherever it sends from, and the hub's."""

    def __init__(self) -> None:
        self._site: Address | None = None
        self._front: asyncio.DatagramTransport
        self._back: asyncio.DatagramTransport
        self.begin(OPEN, 0)

    def begin(self, profile: Profile, seed: int) -> None:
        """The line is this one, and its time begins now."""
        self._began = time.monotonic()
        self._up, self._down = (Way(profile, seed, name) for name in ("up", "down"))

    async def open(self, front: Address, hub: Address) -> None:
        """Listens for the site at `front`, and speaks to `hub` from a port of its own."""
        loop = asyncio.get_running_loop()
        self._front, _ = await loop.create_datagram_endpoint(lambda: _Socket(self._from_site), local_addr=front)
        self._back, _ = await loop.create_datagram_endpoint(lambda: _Socket(self._from_hub), remote_addr=hub)

    def facts(self) -> control.Answer:
        """What was carried, and could have been, since the beginning."""
        now = time.monotonic() - self._began
        return {
            "profile": self._up.profile.name,
            "began": self._began,  # monotonic clock of the machine
            "seconds": now,
            "capacity_bytes": self._up.timeline.bits(now) / 8,
            "outages": self._up.timeline.outages(now),
            "up": asdict(self._up.counts),
            "down": asdict(self._down.counts),
        }

    def answer(self, question: control.Answer) -> control.Answer:
        """Does what the question asks, and says how things stand."""
        if "begin" in question:
            self.begin(_profile(question), int(question.get("seed", 1)))
        return self.facts()

    def _from_site(self, message: bytes, sender: Address) -> None:
        self._site = sender
        self._pass(self._up, self._back.sendto, message)

    def _from_hub(self, message: bytes, _: Address) -> None:
        if self._site is not None:
            self._pass(self._down, self._to_site, message)

    def _to_site(self, message: bytes) -> None:
        self._front.sendto(message, self._site)

    def _pass(self, way: Way, send: Callable[[bytes], None], message: bytes) -> None:
        now = time.monotonic() - self._began
        arrival = way.admit(now, len(message))
        if arrival is None:
            return
        if arrival - now < _AT_ONCE:
            send(message)
        else:
            asyncio.get_running_loop().call_at(self._began + arrival, send, message)  # its clock is the monotonic one


def _profile(question: control.Answer) -> Profile:
    profile = _line(question)
    if not question.get("calm"):
        return profile
    rate = profile.timeline(int(question.get("seed", 1))).rate(0.0)
    return replace(profile, spells=steady(rate / 1000), loss=0.0)


def _line(question: control.Answer) -> Profile:
    if "spells" not in question:
        return PROFILES[question["begin"]]
    spells = [Spell(*spell) for spell in question["spells"]]
    others = {name: question[name] for name in ("round_trip", "jitter", "loss", "burst", "queue") if name in question}
    return Profile(question["begin"], "made by hand", lambda _: spells, **{"round_trip": 0.0, **others})


class _Socket(asyncio.DatagramProtocol):
    """Gives each message to `take`."""

    def __init__(self, take: Callable[[bytes, Address], None]) -> None:
        self._take = take

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        opened = transport.get_extra_info("socket")
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            opened.setsockopt(socket.SOL_SOCKET, option, _BUFFER)

    def datagram_received(self, data: bytes, addr: Address) -> None:
        self._take(data, addr)

    def error_received(self, exc: Exception) -> None:
        """The other end is not there yet; WireGuard sends again."""


async def _run(options: argparse.Namespace) -> None:
    relay = Relay()
    await relay.open(_address(options.listen), _address(options.hub))
    await control.serve(options.control, relay.answer)
    await asyncio.Event().wait()


def _address(written: str) -> Address:
    host, _, port = written.rpartition(":")
    return host, int(port)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--listen", required=True, metavar="ADDRESS:PORT", help="where the site's end sends to")
    parser.add_argument("--hub", required=True, metavar="ADDRESS:PORT", help="the hub's end")
    parser.add_argument("--control", required=True, type=Path, metavar="PATH", help="socket to ask and tell it")
    asyncio.run(_run(parser.parse_args()))
