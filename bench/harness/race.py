"""One contestant over one line: sends, watches until all is there or patience ends, and says what it took."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.contestants import Contestant, Ours
from harness.processes import cpu_seconds, peak_memory
from harness.profiles import PAYLOAD_SHARE, PROFILES
from harness.samples import Sample, size
from harness.wireguard import Tunnel

Make = Callable[[Tunnel, Path], Contestant]
Line = Mapping[str, Any]  # what `Tunnel.begin` takes
_LOOK = 0.05  # seconds between looks at what the hub has


@dataclass
class Result:
    """What a contestant did. `seconds` until all was there, or until it was given up; bytes as they are on the line."""

    name: str
    profile: str
    seconds: float
    arrived: int
    of: int
    has_failed: bool
    first_seconds: float | None  # until the first image was there
    plain_bytes: int  # of what arrived, as the modality sent it
    content_bytes: int  # the same as it travelled: parcels, or files
    wire_bytes: int
    capacity_bytes: float  # what the line could have carried meanwhile
    sent_again: int  # by TCP, bytes
    resent: int  # bytes of parcels in a second request
    cuts: int = 0
    back_seconds: list[float] = field(default_factory=list)  # from each return of the line to the first new byte
    forward_cpu: float | None = None  # share of a core
    forward_bytes: int | None = None  # highest resident memory
    stat_seconds: float | None = None

    @property
    def done(self) -> bool:
        """All arrived."""
        return self.arrived == self.of

    @property
    def bytes_sent_twice(self) -> int:
        """By whomever."""
        return self.sent_again + self.resent

    @property
    def capacity_share(self) -> float:
        """Of what the tunnel could have carried for TCP, the share that was content which arrived."""
        return self.content_bytes / (self.capacity_bytes * PAYLOAD_SHARE)

    @property
    def effective_use(self) -> float:
        """Bytes as the modality sent them, against what the line could have carried in all."""
        return self.plain_bytes / self.capacity_bytes

    @property
    def packing_ratio(self) -> float:
        """Bytes as the modality sent them, against the same as they travelled."""
        return self.plain_bytes / self.content_bytes if self.content_bytes else 0.0

    def figures(self) -> dict[str, Any]:
        """For JSON."""
        shares = ("capacity_share", "effective_use", "packing_ratio", "bytes_sent_twice", "done")
        return {**vars(self), **{name: getattr(self, name) for name in shares}}


class Watch:
    """What was seen at the hub, at which moments of the line's time."""

    def __init__(self, contestant: Contestant, began: float) -> None:
        self._contestant, self._began = contestant, began
        self.arrived: set[str] = set()
        self.first: float | None = None
        self.last = 0.0
        self.held = [(0.0, 0)]  # moment, bytes durable at the hub; only ours can tell

    def look(self) -> None:
        """Once more."""
        now = time.monotonic() - self._began
        if isinstance(self._contestant, Ours):
            count = self._contestant.bytes_held()
            if count > self.held[-1][1]:
                self.held.append((now, count))
        seen = self._contestant.arrived()
        if len(seen) > len(self.arrived):
            self.arrived, self.last = seen, now
            self.first = now if self.first is None else self.first

    def back_seconds(self, outages: Sequence[tuple[float, float]]) -> list[float]:
        """From the end of each outage in which something was under way to the first byte that was new at the hub."""
        ends = [end for _, end in outages if end < self.last]
        return [next((at - end for at, _ in self.held if at > end), float("inf")) for end in ends]


def race(name: str, make: Make, line: Line, samples: Sequence[Sample], directory: Path, patience: float) -> Result:
    """Sends all the samples over a new tunnel with this line, and waits at most `patience` seconds."""
    shutil.rmtree(directory, ignore_errors=True)
    with _calm(directory, line) as tunnel, make(tunnel, directory / "ends") as contestant:
        began = _begin(tunnel, contestant, line, samples)
        forward = contestant.unit.processes["forward"].pid if isinstance(contestant, Ours) else None
        cpu = cpu_seconds(forward) if forward else 0.0
        watch = Watch(contestant, began)
        _watch(watch, contestant, samples, patience)
        facts, sent = tunnel.facts(), tunnel.sent()
        result = _result(name, watch, samples, contestant, facts, sent)
        if forward:
            result.forward_cpu = (cpu_seconds(forward) - cpu) / facts["seconds"]
            result.forward_bytes = peak_memory(forward)
    shutil.rmtree(directory)
    return result


@contextmanager
def _calm(directory: Path, line: Line) -> Iterator[Tunnel]:
    """A tunnel over this line, which has its delay and its rate from the start: what TCP learns there is true."""
    with Tunnel(directory / "tunnel") as tunnel:
        tunnel.begin(**line, calm=True)
        yield tunnel


def _begin(tunnel: Tunnel, contestant: Contestant, line: Line, samples: Sequence[Sample]) -> float:
    """The moment on the monotonic clock at which the line and the sending began."""
    if contestant.sends_at_once:
        began = float(tunnel.begin(**line)["began"])
        contestant.send(samples)
        return began
    contestant.send(samples)
    return float(tunnel.begin(**line)["began"])


def _watch(watch: Watch, contestant: Contestant, samples: Sequence[Sample], patience: float) -> None:
    limit = time.monotonic() + patience
    while len(watch.arrived) < len(samples) and time.monotonic() < limit:
        time.sleep(_LOOK)
        watch.look()
        if contestant.has_failed():
            time.sleep(1.0)  # what it sent last may still be on the way
            watch.look()
            return


def _result(
    name: str,
    watch: Watch,
    samples: Sequence[Sample],
    contestant: Contestant,
    facts: dict[str, Any],
    sent: dict[str, Any],
) -> Result:
    there = [sample for sample in samples if sample.uid in watch.arrived]
    outages = facts["outages"]
    ours = isinstance(contestant, Ours)
    return Result(
        name=name,
        profile=facts["profile"],
        seconds=watch.last if len(there) == len(samples) else facts["seconds"],
        arrived=len(there),
        of=len(samples),
        has_failed=contestant.has_failed(),
        first_seconds=watch.first,
        plain_bytes=size(there, j2k=False),
        content_bytes=sent["parcels"] if ours else size(there, j2k=contestant.j2k),
        wire_bytes=facts["up"]["bytes"],
        capacity_bytes=facts["capacity_bytes"],
        sent_again=sent["again"],
        resent=sent["resent"],
        cuts=sum(start < watch.last for start, _ in outages),
        back_seconds=watch.back_seconds(outages) if ours else [],
    )


def stat(
    make: Make, line: Line, samples: Sequence[Sample], urgent: Sample, directory: Path, patience: float
) -> float | None:
    """Seconds until a stat radiograph is at the hub that is sent while a long CT is on the line; None: too long."""
    shutil.rmtree(directory, ignore_errors=True)
    with _calm(directory, line) as tunnel, make(tunnel, directory / "ends") as contestant:
        tunnel.begin(**line)
        contestant.send(samples)
        limit = time.monotonic() + patience
        while not contestant.arrived() and time.monotonic() < limit:
            time.sleep(_LOOK)
        start = time.monotonic()
        contestant.send_stat(urgent)
        while urgent.uid not in contestant.arrived() and time.monotonic() < start + patience:
            time.sleep(_LOOK)
        took = time.monotonic() - start
    shutil.rmtree(directory)
    return took if took < patience else None


def least_seconds(profile: str, count: float) -> float:
    """How long this line needs for so many bytes of TCP, at best."""
    line = PROFILES[profile]
    return line.timeline(1).when(count * 8 / PAYLOAD_SHARE) + line.round_trip / 2
