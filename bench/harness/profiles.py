"""Named lines for the emulator: what each could carry at every moment, its delay and its loss. Pure and seeded.

A line is a row of *spells*, each some seconds at one rate; a rate of 0 is an outage. Everything the emulator decides
follows from the line, the seed and when a packet came, so that a run can be had again.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, cycle, repeat
from typing import Final, NamedTuple

HEADERS: Final = 28  # IPv4 and UDP around a WireGuard message
PAYLOAD_SHARE: Final = 1368 / 1480  # of a full packet on the line, what TCP carries in a tunnel with an MTU of 1420


class Spell(NamedTuple):
    """So many seconds at this rate; 0 kbit/s is an outage."""

    seconds: float
    kbit: float


class Timeline:
    """What a line can carry, from its beginning at 0 s on. The last spell of a finite row lasts for ever."""

    def __init__(self, spells: Iterable[Spell]) -> None:
        self._more = iter(spells)
        self._starts: list[float] = []  # seconds
        self._bits: list[float] = []  # carried before that
        self._rates: list[float] = []  # bits a second
        self._end = self._end_bits = 0.0
        self._extend()

    def rate(self, at: float) -> float:
        """Bits a second at that moment."""
        return self._rates[self._spell(at)]

    def bits(self, at: float) -> float:
        """How much it could have carried until that moment."""
        spell = self._spell(at)
        return self._bits[spell] + (at - self._starts[spell]) * self._rates[spell]

    def when(self, bits: float) -> float:
        """The earliest moment by which it can have carried so much; infinite when it never will."""
        while bits > self._end_bits and self._extend():
            pass
        spell = bisect_right(self._bits, bits) - 1
        while self._bits[spell] == bits and spell:  # the end of an earlier spell, before an outage
            spell -= 1
        left = bits - self._bits[spell]
        if left <= 0:
            return self._starts[spell]
        return self._starts[spell] + left / self._rates[spell] if self._rates[spell] else float("inf")

    def is_cut(self, start: float, end: float) -> bool:
        """Whether there is an outage at some moment from `start` to `end`."""
        first, last = self._spell(start), self._spell(end)
        return any(rate == 0 for rate in self._rates[first : last + 1])

    def outages(self, until: float) -> list[tuple[float, float]]:
        """When each outage began and ended, of those that ended by then."""
        last = self._spell(until)
        ends = self._starts[1 : last + 1]
        spells = zip(self._starts, ends, self._rates[:last], strict=False)
        return [(start, end) for start, end, rate in spells if rate == 0]

    def _spell(self, at: float) -> int:
        while at >= self._end and self._extend():
            pass
        return max(0, bisect_right(self._starts, at) - 1)

    def _extend(self) -> bool:
        spell = next(self._more, None)
        if spell is None:
            return False
        self._starts.append(self._end)
        self._bits.append(self._end_bits)
        self._rates.append(spell.kbit * 1000)
        self._end += spell.seconds
        self._end_bits += spell.seconds * spell.kbit * 1000
        return True


class Loss:
    """Loses `share` of the packets, in bursts of `burst` on average (Gilbert's model), the same for the same seed."""

    def __init__(self, share: float, burst: float, draw: random.Random) -> None:
        self._enter = share / (burst * (1 - share)) if share else 0.0
        self._leave = 1 / burst
        self._draw = draw
        self._bad = False

    def takes(self) -> bool:
        """Whether it takes the packet that comes now."""
        drawn = self._draw.random()
        self._bad = drawn >= self._leave if self._bad else drawn < self._enter
        return self._bad


@dataclass(frozen=True)
class Profile:
    """A line. Both ways are alike. `spells` makes its row from a seeded source of chance."""

    name: str
    words: str  # for people
    spells: Callable[[random.Random], Iterable[Spell]]
    round_trip: float  # seconds, of an empty line
    jitter: float = 0.0  # seconds that a packet may be later; the order is kept
    loss: float = 0.0  # share of packets, before the queue: it costs the line nothing
    burst: float = 1.0
    queue: float = 2.0  # seconds that a packet may wait for its turn; one that had to wait longer is dropped
    share: float = 0.95  # of what it can carry, the goal of the issue
    fill: float = 150.0  # seconds of the line that a run is to fill when nobody says how much is to be sent

    def timeline(self, seed: int) -> Timeline:
        """The same for the same seed."""
        return Timeline(self.spells(chance(self.name, seed, "spells")))

    @property
    def is_bad(self) -> bool:
        """Has loss or cuts."""
        return self.share < 0.95

    def losses(self, seed: int, way: str) -> Loss:
        """What one way loses."""
        return Loss(self.loss, self.burst, chance(self.name, seed, way))


def chance(*parts: object) -> random.Random:
    """A source of chance that is the same for the same parts."""
    return random.Random(" ".join(map(str, parts)))


def steady(kbit: float) -> Callable[[random.Random], Iterable[Spell]]:
    """One rate for ever."""
    return lambda _: repeat(Spell(3600.0, kbit))


def _flapping(_: random.Random) -> Iterable[Spell]:
    return cycle((Spell(40.0, 384.0), Spell(20.0, 0.0)))


def _blackout(_: random.Random) -> Iterable[Spell]:
    """A day in four minutes (a second is six minutes), from three hours before the light goes."""
    return chain((Spell(30.0, 384.0), Spell(80.0, 0.0)), cycle((Spell(160.0, 384.0), Spell(80.0, 0.0))))


def _ten_days(_: random.Random) -> Iterable[Spell]:
    return (Spell(20.0, 384.0), Spell(200.0, 0.0), Spell(3600.0, 384.0))


def _bursty(draw: random.Random) -> Iterator[Spell]:
    """Good for a while, bad for a while, at times a hole of a few seconds."""
    while True:
        yield Spell(draw.uniform(4, 14), draw.uniform(900, 1800))
        yield Spell(draw.uniform(2, 8), draw.uniform(80, 250))
        if draw.random() < 0.2:
            yield Spell(draw.uniform(1, 5), 0.0)


def _shared(draw: random.Random) -> Iterator[Spell]:
    """A line of 1 Mbit/s of which others take what they take."""
    while True:
        yield Spell(draw.uniform(1, 8), 1000 * draw.uniform(0.2, 1.0))


PROFILES: Final = {
    profile.name: profile
    for profile in (
        Profile("vsat-blantyre", "satellite, 384 kbit/s, 715 ms", steady(384), 0.715),
        Profile(
            "edge-2g", "64 kbit/s, 800 ms, 3 % loss", steady(64), 0.8, jitter=0.05, loss=0.03, burst=2.0, share=0.9
        ),
        Profile("3g-bursty", "0.1 to 1.8 Mbit/s by turns, short holes", _bursty, 0.18, 0.03, 0.005, 4.0, share=0.85),
        Profile("shared-dsl", "1 Mbit/s, others take up to 80 %", _shared, 0.06, queue=0.5),
        Profile(
            "nightly-blackout", "384 kbit/s, off for 8 h of 24; a day in 4 min", _blackout, 0.2, share=0.85, fill=220
        ),
        Profile("flapping", "384 kbit/s, up 40 s, down 20 s", _flapping, 0.3, share=0.85, fill=220),
        Profile(
            "ten-day-cut", "384 kbit/s, then nothing for ten days (200 s here)", _ten_days, 0.3, share=0.85, fill=300
        ),
        Profile("loss-2", "384 kbit/s, 715 ms, 2 % loss", steady(384), 0.715, loss=0.02, share=0.9),
        Profile("loss-5", "384 kbit/s, 715 ms, 5 % loss", steady(384), 0.715, loss=0.05, share=0.9),
        Profile(
            "ten-mbit", "10 Mbit/s, 50 ms: what the unit's processor takes", steady(10_000), 0.05, queue=0.2, fill=25
        ),
    )
}
