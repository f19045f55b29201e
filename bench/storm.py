"""Forty sites come back at once: how do their requests and their bytes share one hub and its line?

The sites are simulated (`harness.returning`); the hub is a real one. All of them go through one WireGuard tunnel, whose
line is the hub's: it is up while they find the hub, then gone, and when it comes back everything that they took
meanwhile wants to go at once.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from harness import samples
from harness.ours import Hub
from harness.profiles import PAYLOAD_SHARE
from harness.report import Goal, Report, Table, arguments, median, publish, scratch
from harness.wireguard import Tunnel
from pydicom import dcmread
from support.hub import add_site, pack

from appliance.compress.values import Source
from appliance.config import load_hub
from appliance.part10.meta import read_prefix

UP, ROUND_TRIP = 2.0, 0.1  # seconds
_PROGRAM = Path(__file__).parent / "harness" / "returning.py"
Did = dict[str, Any]  # what one site did
_FIRST: Final = 10  # the sites are 10.99.0.10 and on


@dataclass
class Storm:
    """What each site did, by the monotonic clock; `back` is when the line returned."""

    sites: list[Did]
    back: float
    kbit: float
    size: int  # bytes of a site's parcels

    @property
    def seconds(self) -> float:
        """Until the last receipt."""
        return float(max(max(site["delivered"]) for site in self.sites) - self.back)

    @property
    def share(self) -> float:
        """Of what the line could carry in that time, what was parcels."""
        return self.size * len(self.sites) * 8 / (self.seconds * self.kbit * 1000 * PAYLOAD_SHARE)

    def waits(self, what: str) -> list[float]:
        """Seconds of each site to the first byte at the hub (`first`), the first receipt, or the last."""
        moments = {
            "first": lambda site: site["moved"][0][0],
            "receipt": lambda site: site["delivered"][0],
            "last": lambda site: site["delivered"][-1],
        }
        return sorted(moments[what](site) - self.back for site in self.sites)

    def requests(self) -> Counter[int]:
        """How many requests began in each second after the return."""
        return Counter(int(at - self.back) for site in self.sites for at in site["asked"] if at >= self.back)

    def fairness(self) -> float:
        """Jain's index of what the hub had of each site halfway: 1 when of all the same, 1/n when all of one."""
        half = self.back + self.seconds / 2
        held = [sum(count for at, count in site["moved"] if at <= half) for site in self.sites]
        squares = len(held) * sum(count * count for count in held)
        return sum(held) ** 2 / squares if squares else 0.0


def parcels(directory: Path, count: int) -> list[Path]:
    """Real parcels of one slice each: all sites send the same, and the hub checks them for each site."""
    made = []
    for sample in samples.slices(directory / "samples", count):
        file = directory / "parcels" / f"{sample.uid}.parcel"
        if not file.exists():
            study = str(dcmread(sample.plain, specific_tags=["StudyInstanceUID"]).StudyInstanceUID)
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(pack(file.parent / "work", [_source(sample)], study))
        made.append(file)
    return made


def _source(sample: samples.Sample) -> Source:
    with sample.plain.open("rb") as opened:
        meta, offset = read_prefix(opened)
    content = sample.plain.read_bytes()[offset:]
    return Source(
        path=sample.plain,
        data_offset=offset,
        bytes=len(content),
        digest=hashlib.sha256(content).digest(),
        transfer_syntax_uid=meta.transfer_syntax_uid,
        sop_class_uid=meta.sop_class_uid,
        sop_instance_uid=meta.sop_instance_uid,
        received_at=0,
        calling_ae="CT",
    )


def measure(options: argparse.Namespace, directory: Path) -> Storm:
    """One storm."""
    files = parcels(directory, options.parcels)
    place = directory / "storm"
    shutil.rmtree(place, ignore_errors=True)
    with Tunnel(place / "tunnel") as tunnel, Hub(place / "hub", tunnel.hub) as hub:
        addresses = [f"10.99.0.{_FIRST + number}" for number in range(options.sites)]
        for address in addresses:
            tunnel.site.run("ip", "address", "add", f"{address}/32", "dev", tunnel.site.interface)
        config = load_hub(hub.file)
        sites = [[address, add_site(config, address.replace(".", "-"))] for address in addresses]
        plan = {"url": hub.url, "sites": sites, "parcels": [str(file) for file in files], "seed": options.seed}
        plan["spread"] = options.outage / 2
        (place / "plan.json").write_text(json.dumps(plan), "utf-8")
        command = tunnel.site.command([sys.executable, _PROGRAM, place / "plan.json"])
        back, did = _run_sites([str(word) for word in command], tunnel, options)
    shutil.rmtree(place)
    return Storm(did, back, options.kbit, sum(file.stat().st_size for file in files))


def _run_sites(
    command: Sequence[str], tunnel: Tunnel, options: argparse.Namespace
) -> tuple[float, list[dict[str, Any]]]:
    """When the line came back, and what each site did."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        if program.stdout.readline().strip() != "found":
            raise SystemExit("the sites did not find the hub")
        spells = [(UP, options.kbit), (options.outage, 0), (3600, options.kbit)]
        began = tunnel.begin("storm", spells=spells, round_trip=ROUND_TRIP, queue=options.queue)["began"]
        time.sleep(UP + 0.5)  # they are told that there is something to send when the line is gone
        program.stdin.write("go\n")
        program.stdin.flush()
        return float(began) + UP + options.outage, json.loads(program.stdout.readline())


def report(storm: Storm, options: argparse.Namespace) -> Report:
    """The table, the goals and the figures."""
    count, size = len(storm.sites), storm.size / 1e6
    title = f"{count} sites with {size:.2f} MB each return at once to a hub on {options.kbit / 1000:.0f} Mbit/s"
    found = Report("storm", title)
    table = Table("Seconds after the line came back", ("what", "soonest", "median", "latest"))
    waits = {name: storm.waits(name) for name in ("first", "receipt", "last")}
    words = {"first": "first parcel taken, of each site", "receipt": "its first receipt", "last": "its last receipt"}
    for name, seconds in waits.items():
        table.rows.append((words[name], *(f"{one:.1f}" for one in (seconds[0], median(seconds), seconds[-1]))))
    requests, refused = storm.requests(), sum(site["refused"] for site in storm.sites)
    shown = ", ".join(str(requests[second]) for second in range(10))
    table.note = f"Requests begun in each of the first ten seconds: {shown}. The hub asked for patience {refused}×."
    found.tables.append(table)
    found.goals = _goals(storm, waits, requests)
    found.figures = {
        "sites": count,
        "seconds": storm.seconds,
        "capacity_share": storm.share,
        "fairness": storm.fairness(),
        "requests_per_second_max": max(requests.values()),
        "asked_for_patience": refused,
        "waits": waits,
    }
    return found


def _goals(storm: Storm, waits: dict[str, list[float]], requests: Counter[int]) -> list[Goal]:
    count, worst = len(storm.sites), max(requests.values())
    even, latest = median(waits["last"]), waits["last"][-1]
    return [
        Goal("everything arrives, of every site", f"{len(waits['last'])} sites", len(waits["last"]) == count),
        Goal("85% of what the hub's line can carry", f"{storm.share:.1%}", storm.share >= 0.85),
        Goal("no second with more than four requests a site", f"{worst} of {count} sites", worst <= 4 * count),
        Goal("no site starves: fairness of 0.8 halfway", f"{storm.fairness():.2f}", storm.fairness() >= 0.8),
        Goal("the last site is done by twice the median", f"{latest / even:.2f}×", latest <= 2 * even),
    ]


def main(options: argparse.Namespace) -> None:
    """Runs it and prints."""
    directory = scratch(options.directory) / "link"
    publish(report(measure(options, directory), options), options)


if __name__ == "__main__":
    parser = arguments(__doc__, repeat=1)
    parser.add_argument("--sites", type=int, default=40, metavar="N", help="at most 240; default 40")
    parser.add_argument("--parcels", type=int, default=3, metavar="N", help="of each site; default 3")
    parser.add_argument("--kbit", type=float, default=10_000, help="rate of the hub's line; default 10,000")
    parser.add_argument("--queue", type=float, default=0.5, help="seconds that a packet may wait in it; default 0.5")
    parser.add_argument("--outage", type=float, default=30.0, metavar="SECONDS", help="default 30")
    parser.add_argument("--seed", type=int, default=1)
    sys.exit(main(parser.parse_args()))
