"""How fast a study is taken in, durably: the unit against Orthanc and against dcmtk's storescp, which never fsyncs.

The sender is dcmtk's `storescu +sd` with the 140-slice CT, once as dcmtk is by default and once with TCP_NODELAY=1
in its environment (and in storescp's, which reads it too). Every run has a new receiver with an empty store, on the
same disk, after a sync. The runs of the receivers alternate, so that a busy moment of the machine meets all of them.
Seconds are storescu's whole life: its start and its look through the directory are in them, for every receiver alike.

It is measured over loopback, where receiver and senders share this machine and nothing else is in the way, and over a
LAN as hospitals have it (`harness.lan`), with fewer slices: there the wire is what a sender waits for, at the same
pace from the first slice to the last. `storescp --fork`, which takes many senders at once and never fsyncs, shows what
this machine allows four senders on its own cores.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from harness import images, lan, peers
from harness.lan import LOOPBACK, Network
from harness.ours import UNIT_AE, Unit
from harness.report import Goal, Report, Table, arguments, median, publish, scratch, spread
from support import data

MODES = {False: "default", True: "TCP_NODELAY=1"}
FOUR = 4
FORKING = "storescp --fork"
LAN_SLICES = 20


def ours(directory: Path, studies: list[Path], no_delay: bool, network: Network) -> float:
    with Unit(directory, network=network).start("receive") as unit:
        seconds = peers.storescu(unit.dicom_port, studies, UNIT_AE, no_delay=no_delay, network=network)
        sent = sum(1 for study in studies for _ in study.iterdir())
        stored = unit.count("SELECT count(*) FROM instance")
    if stored != sent:
        raise SystemExit(f"the unit has {stored} of {sent} instances")
    return seconds


def orthanc(directory: Path, studies: list[Path], no_delay: bool, network: Network) -> float:
    with peers.Orthanc(directory) as peer:
        return peers.storescu(peer.dicom_port, studies, "ORTHANC", no_delay=no_delay, network=network)


def storescp(directory: Path, studies: list[Path], no_delay: bool, network: Network, *, fork: bool = False) -> float:
    with peers.Storescp(directory, no_delay=no_delay, fork=fork) as peer:
        return peers.storescu(peer.dicom_port, studies, "STORESCP", no_delay=no_delay, network=network)


RUNS: dict[str, Callable[[Path, list[Path], bool, Network], float]] = {
    "unit": ours,
    "Orthanc": orthanc,
    "storescp": storescp,
    FORKING: partial(storescp, fork=True),
}


class Case(NamedTuple):
    """What is run again and again: the receiver, the mode of its senders, and their number."""

    receiver: str
    no_delay: bool
    senders: int


ON_LOOPBACK = [
    Case(receiver, mode, senders)
    for mode in MODES
    for receiver, senders in (("unit", 1), ("unit", FOUR), ("Orthanc", 1), ("storescp", 1))
]
# Not by default: there its senders wait for acknowledgements, as storescp's do, and idle cores show no limit of them.
ON_LOOPBACK += [Case(FORKING, True, senders) for senders in (1, FOUR)]
ON_LAN = [Case(receiver, mode, senders) for mode in MODES for receiver in ("unit", "Orthanc") for senders in (1, FOUR)]


@dataclass(frozen=True)
class Measured:
    """Seconds of every run over one network. `slices` and `size` in bytes are of one study."""

    network: str
    slices: int
    size: int
    seconds: Mapping[Case, list[float]]

    def rate(self, case: Case) -> float:
        """Instances a second, of all senders together."""
        return case.senders * self.slices / median(self.seconds[case])

    def gain(self, receiver: str, no_delay: bool) -> float:
        """What four senders get, as a multiple of what one does."""
        return self.rate(Case(receiver, no_delay, FOUR)) / self.rate(Case(receiver, no_delay, 1))


def measure(network: Network, cases: Sequence[Case], studies: list[Path], directory: Path, repeat: int) -> Measured:
    """Runs each of the cases in turn, and all of them again; `directory` is not there before nor after."""
    seconds: dict[Case, list[float]] = defaultdict(list)
    shutil.rmtree(directory, ignore_errors=True)
    for run in range(repeat):
        for case in cases:
            os.sync()  # what the receiver before left to be written must not be written while this one is measured
            place = directory / f"{run}-{case.receiver.replace(' ', '')}-{int(case.no_delay)}-{case.senders}"
            seconds[case].append(RUNS[case.receiver](place, studies[: case.senders], case.no_delay, network))
    shutil.rmtree(directory)
    files = list(studies[0].iterdir())
    return Measured(network.name, len(files), sum(file.stat().st_size for file in files), seconds)


def report(loopback: Measured, on_lan: Measured | None) -> Report:
    """Tables and goals from the seconds of every run."""
    found = Report(
        "ingest", f"Ingest of a CT of {loopback.slices} slices, {loopback.size / 1e6:.0f} MB, by storescu +sd"
    )
    found.machine += ", " + peers.versions()
    for measured in filter(None, (loopback, on_lan)):
        found.tables += [table(measured, mode) for mode in MODES]
    runs = len(next(iter(loopback.seconds.values())))
    found.tables[len(MODES) - 1].note = loopback_note(loopback, runs)
    found.goals = [goal for mode in MODES for goal in goals(loopback, mode)]
    if on_lan:
        found.tables[-1].note = lan_note(on_lan, runs)
        found.goals += [gain_goal(on_lan, mode, "LAN, ") for mode in MODES]
    found.figures = {
        "slices": loopback.slices,
        "bytes": loopback.size,
        "runs": [run for measured in filter(None, (loopback, on_lan)) for run in figures(measured)],
    }
    return found


def table(measured: Measured, mode: bool) -> Table:
    """One network and mode of the senders: a row for each receiver and number of senders."""
    columns = ("receiver", "senders", "seconds", "range", "instances/s", "MB/s", "of one", "unit is")
    found = Table(f"storescu {MODES[mode]}, {measured.network}", columns)
    for case, seconds in measured.seconds.items():
        if case.no_delay != mode:
            continue
        rate = measured.rate(case)
        of_one = "" if case.senders == 1 else f"{measured.gain(case.receiver, mode):.2f}×"
        unit = measured.rate(case._replace(receiver="unit"))
        unit_is = "" if case.receiver == "unit" else f"{unit / rate:.2f}×"
        speed = (f"{rate:.0f}", f"{rate * measured.size / measured.slices / 1e6:.0f}")
        times = (f"{median(seconds):.2f}", spread(seconds))
        found.rows.append((case.receiver, str(case.senders), *times, *speed, of_one, unit_is))
    return found


def loopback_note(loopback: Measured, runs: int) -> str:
    return (
        f"Seconds are medians of {runs} runs. The unit and Orthanc fsync; storescp does not. Of one: four senders' "
        "rate against one's. Unit is: its rate with as many senders. The senders run on the receiver's cores: four of "
        f"them get {loopback.gain(FORKING, no_delay=True):.2f}× one's rate there from {FORKING}, a process for each."
    )


def lan_note(on_lan: Measured, runs: int) -> str:
    return (
        f"Seconds are medians of {runs} runs, of the first {on_lan.slices} slices, {on_lan.size / 1e6:.1f} MB. Each "
        f"modality has a port of {lan.FAST} Mbit/s, the receiver one of {lan.GIGABIT:,} Mbit/s; no delay."
    )


def figures(measured: Measured) -> list[dict[str, Any]]:
    """One object of the JSON for each row of the tables."""
    return [
        {
            "network": measured.network,
            "slices": measured.slices,
            "receiver": case.receiver,
            "tcp_nodelay": case.no_delay,
            "senders": case.senders,
            "seconds": seconds,
            "instances_per_second": measured.rate(case),
        }
        for case, seconds in measured.seconds.items()
    ]


def goals(loopback: Measured, mode: bool) -> list[Goal]:
    """The four sentences of the issue, for one mode of the sender."""
    words, unit = MODES[mode], loopback.rate(Case("unit", mode, 1))
    beside = {name: unit / loopback.rate(Case(name, mode, 1)) for name in ("Orthanc", "storescp")}
    return [
        Goal(f"{words}: at least 5× Orthanc's rate", f"{beside['Orthanc']:.2f}×", beside["Orthanc"] >= 5),
        Goal(f"{words}: at least a third of storescp's", f"{beside['storescp']:.2f}×", beside["storescp"] >= 1 / 3),
        Goal(f"{words}: at least 100 instances/s", f"{unit:.0f}/s", unit >= 100),
        gain_goal(loopback, mode),
    ]


def gain_goal(measured: Measured, mode: bool, where: str = "") -> Goal:
    gain = measured.gain("unit", mode)
    return Goal(f"{where}{MODES[mode]}: four modalities at once, at least twice one", f"{gain:.2f}×", gain >= 2)


def main(options: argparse.Namespace) -> None:
    """Runs it all and prints."""
    directory = scratch(options.directory)
    source = data.series("ct-head-philips-140")[: options.slices]

    def over(network: Network, cases: Sequence[Case], files: Sequence[Path]) -> Measured:
        studies = images.copies(files, directory / f"ct-{len(files)}", FOUR)
        return measure(network, cases, studies, directory / "ingest-runs", options.repeat)

    loopback = over(LOOPBACK, ON_LOOPBACK, source)
    try:
        with lan.hospital(FOUR) as network:
            found = report(loopback, over(network, ON_LAN, source[:LAN_SLICES]))
    except lan.UnavailableError as error:
        found = report(loopback, None)
        found.remarks.append(f"LAN left out: {error}")
    publish(found, options)


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--slices", type=int, default=140, metavar="N", help="first slices of the series; default 140")
    sys.exit(main(parser.parse_args()))
