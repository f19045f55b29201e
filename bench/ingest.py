"""How fast a study is taken in, durably: the unit against Orthanc and against dcmtk's storescp, which never fsyncs.

The sender is dcmtk's `storescu +sd` with the 140-slice CT, once as dcmtk is by default and once with TCP_NODELAY=1
in its environment (and in storescp's, which reads it too). Every run has a new receiver with an empty store, on the
same disk, after a sync. The runs of the receivers alternate, so that a busy moment of the machine meets all of them.
Seconds are storescu's whole life: its start and its look through the directory are in them, for every receiver alike.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from harness import images, peers
from harness.ours import UNIT_AE, Unit
from harness.report import Goal, Report, Table, arguments, median, publish, scratch, spread
from support import data

Times = dict[tuple[str, bool, int], list[float]]
RECEIVERS = ("unit", "Orthanc", "storescp")
MODES = {False: "default", True: "TCP_NODELAY=1"}
FOUR = 4


def ours(directory: Path, studies: list[Path], no_delay: bool) -> float:
    with Unit(directory).start("receive") as unit:
        seconds = peers.storescu(unit.dicom_port, studies, UNIT_AE, no_delay=no_delay)
        sent = sum(1 for study in studies for _ in study.iterdir())
        stored = unit.count("SELECT count(*) FROM instance")
    if stored != sent:
        raise SystemExit(f"the unit has {stored} of {sent} instances")
    return seconds


def orthanc(directory: Path, studies: list[Path], no_delay: bool) -> float:
    with peers.Orthanc(directory) as peer:
        return peers.storescu(peer.dicom_port, studies, "ORTHANC", no_delay=no_delay)


def storescp(directory: Path, studies: list[Path], no_delay: bool) -> float:
    with peers.Storescp(directory, no_delay=no_delay) as peer:
        return peers.storescu(peer.dicom_port, studies, "STORESCP", no_delay=no_delay)


RUNS: dict[str, Callable[[Path, list[Path], bool], float]] = {
    "unit": ours,
    "Orthanc": orthanc,
    "storescp": storescp,
}


def measure(studies: list[Path], directory: Path, repeat: int) -> Times:
    """Seconds of every run, by receiver, mode, and number of senders at once."""
    times: Times = defaultdict(list)
    plans = [(name, mode, 1) for mode in MODES for name in RECEIVERS] + [("unit", mode, FOUR) for mode in MODES]
    shutil.rmtree(directory, ignore_errors=True)
    for run in range(repeat):
        for name, mode, senders in plans:
            os.sync()  # what the receiver before left to be written must not be written while this one is measured
            place = directory / f"{run}-{name}-{int(mode)}-{senders}"
            times[name, mode, senders].append(RUNS[name](place, studies[:senders], mode))
    shutil.rmtree(directory)
    return times


def report(times: Times, slices: int, size: int) -> Report:
    """Tables and goals from the seconds of every run; `slices` and `size` are of one study."""
    found = Report("ingest", f"Ingest of a CT of {slices} slices, {size / 1e6:.0f} MB, by storescu +sd")
    found.machine += ", " + peers.versions()
    rates = {key: key[2] * slices / median(seconds) for key, seconds in times.items()}
    for mode, words in MODES.items():
        table = Table(
            f"storescu {words}", ("receiver", "senders", "seconds", "range", "instances/s", "MB/s", "unit is")
        )
        for (name, of_mode, senders), seconds in times.items():
            if of_mode == mode:
                rate = rates[name, mode, senders]
                times_ours = "" if name == "unit" else f"{rates['unit', mode, 1] / rate:.2f}×"
                speed = (f"{rate:.0f}", f"{rate * size / slices / 1e6:.0f}")
                table.rows.append((name, str(senders), f"{median(seconds):.2f}", spread(seconds), *speed, times_ours))
        found.tables.append(table)
        found.goals += goals(rates, mode, words)
    runs = len(next(iter(times.values())))
    found.tables[-1].note = f"Seconds are medians of {runs} runs. The unit and Orthanc fsync; storescp does not."
    found.figures = {
        "slices": slices,
        "bytes": size,
        "runs": [
            {
                "receiver": name,
                "tcp_nodelay": mode,
                "senders": senders,
                "seconds": seconds,
                "instances_per_second": rate,
            }
            for ((name, mode, senders), seconds), rate in zip(times.items(), rates.values(), strict=True)
        ],
    }
    return found


def goals(rates: dict[tuple[str, bool, int], float], mode: bool, words: str) -> list[Goal]:
    """The four sentences of the issue, for one mode of the sender."""
    unit, four = rates["unit", mode, 1], rates["unit", mode, FOUR]
    beside = {name: unit / rates[name, mode, 1] for name in ("Orthanc", "storescp")}
    return [
        Goal(f"{words}: at least 5× Orthanc's rate", f"{beside['Orthanc']:.2f}×", beside["Orthanc"] >= 5),
        Goal(f"{words}: at least a third of storescp's", f"{beside['storescp']:.2f}×", beside["storescp"] >= 1 / 3),
        Goal(f"{words}: at least 100 instances/s", f"{unit:.0f}/s", unit >= 100),
        Goal(f"{words}: four modalities at once, at least twice one", f"{four / unit:.2f}×", four >= 2 * unit),
    ]


def main(options: argparse.Namespace) -> None:
    """Runs it all and prints."""
    directory = scratch(options.directory)
    source = data.series("ct-head-philips-140")[: options.slices]
    studies = images.copies(source, directory / f"ct-{len(source)}", FOUR)
    size = sum(file.stat().st_size for file in studies[0].iterdir())
    times = measure(studies, directory / "ingest-runs", options.repeat)
    publish(report(times, len(source), size), options)


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--slices", type=int, default=140, metavar="N", help="first slices of the series; default 140")
    sys.exit(main(parser.parse_args()))
