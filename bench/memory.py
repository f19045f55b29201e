"""Peak resident memory of every process of unit and hub while a long CT goes through, against a short one.

A synthetic CT (512×512, 16 bits) of 200 and one of 2,000 slices go, one after the other, each through a new unit and
a new hub: received over one association, packed, sent, unpacked and verified. The kernel's own high-water mark (VmHWM)
of each process counts, workers included, each by itself, and the highest is shown.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from harness import images, peers
from harness.ours import UNIT_AE, Hub, Unit
from harness.processes import PeakMemory
from harness.report import Goal, Report, Table, arguments, median, publish, scratch

LIMIT = 200_000_000
GROWTH = 1.10
VERBS = ("receive", "compress", "forward", "web")
_SECONDS_PER_SLICE = 2.0


def pass_through(directory: Path, series: Path, slices: int) -> tuple[dict[str, int], dict[str, float]]:
    """Peaks in bytes by process, and the seconds until all was received and until all was verified at the hub."""
    shutil.rmtree(directory, ignore_errors=True)
    with Hub(directory / "hub") as hub, Unit(directory / "unit", hub).start(*VERBS) as unit:
        watched = {name: running.pid for name, running in unit.processes.items()} | {"hub": hub.running.pid}
        start = time.monotonic()
        with PeakMemory(watched) as memory:
            received = peers.storescu(unit.dicom_port, [series], UNIT_AE, no_delay=True)
            _wait_delivered(unit, slices)
            delivered = time.monotonic() - start
        data, wire = unit.count("SELECT sum(bytes) FROM instance"), unit.count("SELECT sum(bytes) FROM parcel")
    shutil.rmtree(directory)
    return memory.peaks, {"received": received, "delivered": delivered, "ratio": data / max(1, wire)}


def _wait_delivered(unit: Unit, slices: int) -> None:
    limit = time.monotonic() + 60 + _SECONDS_PER_SLICE * slices
    while (delivered := unit.count("SELECT sum(delivered) FROM study")) < slices:
        if time.monotonic() > limit:
            raise SystemExit(f"only {delivered} of {slices} slices were delivered; see {unit.directory}/*.log")
        time.sleep(0.5)


def report(peaks: Mapping[int, list[dict[str, int]]], facts: Mapping[int, list[dict[str, float]]]) -> Report:
    """The highest peak of each process in all runs, for the short and the long series."""
    short, long = sorted(peaks)
    found = Report("memory", f"Peak resident memory: CT 512×512×16 bit of {long:,} slices against {short:,}")
    table = Table(
        "MB (10⁶ bytes), the highest of its runs", ("process", f"{short:,} slices", f"{long:,} slices", "ratio")
    )
    worst = {count: _worst(runs) for count, runs in peaks.items()}
    for name in sorted(worst[long]):
        few, many = worst[short].get(name, 0), worst[long][name]
        table.rows.append((name, f"{few / 1e6:.1f}", f"{many / 1e6:.1f}", f"{many / few:.3f}" if few else "-"))
    table.note = "Medians: " + "; ".join(_course(count, runs) for count, runs in sorted(facts.items())) + "."
    found.tables.append(table)
    highest = max(worst[long], key=lambda name: worst[long][name])
    growths = {name: worst[long][name] / worst[short][name] for name in worst[long] if worst[short].get(name)}
    grown = max(growths, key=lambda name: growths[name])
    found.goals += [
        Goal(
            f"each process under {LIMIT / 1e6:.0f} MB with {long:,} slices",
            f"{worst[long][highest] / 1e6:.1f} MB ({highest})",
            worst[long][highest] < LIMIT,
        ),
        Goal(
            f"within 10 % of its peak for {short:,}",
            f"{100 * (growths[grown] - 1):+.1f} % ({grown})",
            growths[grown] <= GROWTH,
        ),
    ]
    found.figures = {"peak_bytes": {str(k): v for k, v in peaks.items()}, "runs": {str(k): v for k, v in facts.items()}}
    return found


def _course(slices: int, runs: list[dict[str, float]]) -> str:
    received, delivered, ratio = (median([run[key] for run in runs]) for key in ("received", "delivered", "ratio"))
    return (
        f"{slices:,} slices ({len(runs)} runs): received in {received:.0f} s, all verified at the hub after"
        f" {delivered:.0f} s, packed {ratio:.2f}:1"
    )


def _worst(runs: list[dict[str, int]]) -> dict[str, int]:
    return {name: max(run.get(name, 0) for run in runs) for name in {name for run in runs for name in run}}


def main(options: argparse.Namespace) -> None:
    """Runs it all and prints."""
    directory = scratch(options.directory)
    sizes = (options.short, options.long)
    series = {slices: images.synthetic_series(directory / f"synthetic-{slices}", slices) for slices in sizes}
    peaks: dict[int, list[dict[str, int]]] = defaultdict(list)
    facts: dict[int, list[dict[str, float]]] = defaultdict(list)
    for _ in range(options.repeat):
        for slices in sizes:
            peak, fact = pass_through(directory / "memory-run", series[slices], slices)
            peaks[slices].append(peak)
            facts[slices].append(fact)
    for files in series.values():
        shutil.rmtree(files)
    publish(report(peaks, facts), options)


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--short", type=int, default=200, metavar="N", help="slices of the short series; default 200")
    parser.add_argument("--long", type=int, default=2000, metavar="N", help="slices of the long series; default 2000")
    sys.exit(main(parser.parse_args()))
