"""Who carries a CT over a bad line fastest? Ours and its peers, each through a real WireGuard tunnel of its own.

A site, a hub and the internet between them are namespaces of this machine's network. wireguard-go runs at both ends;
between them a relay delays, queues, loses and cuts as the profile says. Ours are the unit's and the hub's processes as
on the box; the tunnel is the only way between them. Peers run on their defaults, several at once when the machine has
time for them: each has its own tunnel. What can't finish within its patience (three times ours, one minute at least)
is said to be not done.

Two profiles stand for longer times. nightly-blackout runs a day in four minutes. ten-day-cut takes the line away for
200 s, after which WireGuard has dropped its session (180 s) and must shake hands anew, as after ten days; what ten days
do to clocks and expiry is tested elsewhere.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness import samples
from harness.contestants import PEERS, Ours, OursPacked, missing
from harness.peers import versions
from harness.profiles import PAYLOAD_SHARE, PROFILES
from harness.race import Make, Result, least_seconds, race, stat
from harness.report import Goal, Report, Table, arguments, publish, scratch
from harness.samples import Sample

SLICE_BYTES = 197_000  # one of the CT's as it travels, about
SLICES_MAX = 140
FAST = "ten-mbit"  # the profile on which the unit's processor is measured
CT_LONG = 40  # slices of the CT during which a stat radiograph comes
COLUMNS = ("carried by", "there", "seconds", "MB sent", "share", "use", "packing", "twice kB", "first", "stat")


def default_slices(profile: str) -> int:
    """As many as fill the line for some minutes."""
    line = PROFILES[profile]
    carried = line.timeline(1).bits(line.fill) / 8 * PAYLOAD_SHARE
    return min(SLICES_MAX, max(4, int(carried / SLICE_BYTES)))


def measure(profile: str, options: argparse.Namespace, directory: Path) -> list[Result]:
    """Ours first, then the peers, each with the time that ours leaves them."""
    slices = samples.slices(directory / "samples", options.slices or default_slices(profile))
    least = least_seconds(profile, len(slices) * SLICE_BYTES)
    ours = _median(profile, "ours", OursPacked if profile == FAST else Ours, slices, options, 120 + 3 * least)
    if not ours.done:
        raise SystemExit(f"ours delivered {ours.arrived} of {ours.of} over {profile} in {ours.seconds:.0f} s")
    patience = max(60.0, options.patience * ours.seconds)
    with ThreadPoolExecutor(options.at_once) as pool:
        peers = pool.map(
            lambda name: _median(profile, name, PEERS[name], slices, options, patience), options.peers, timeout=None
        )
        results = [ours, *peers]
    if options.stat:
        _measure_stat(results, profile, options, directory)
    return results


def _median(
    profile: str, name: str, make: Make, slices: Sequence[Sample], options: argparse.Namespace, patience: float
) -> Result:
    place = options.directory / "link" / f"{profile}-{name}"
    results = [race(name, make, {"profile": profile}, slices, place, patience) for _ in range(options.repeat)]
    return sorted(results, key=lambda result: result.seconds)[len(results) // 2]


def _measure_stat(results: Sequence[Result], profile: str, options: argparse.Namespace, directory: Path) -> None:
    """Fills in how long a stat radiograph takes while a long CT is under way."""
    slices = samples.slices(directory / "samples", CT_LONG)
    urgent = samples.radiograph(directory / "samples")
    least = least_seconds(profile, urgent.j2k.stat().st_size)

    def one(result: Result) -> float | None:
        make = Ours if result.name == "ours" else PEERS[result.name]
        place = directory / "link" / f"{profile}-{result.name}-stat"
        return stat(make, {"profile": profile}, slices, urgent, place, 60 + options.patience * least)

    with ThreadPoolExecutor(options.at_once) as pool:
        for result, seconds in zip(results, pool.map(one, results), strict=True):
            result.stat_seconds = seconds


def table(profile: str, results: Sequence[Result]) -> Table:
    """One row for each that ran."""
    line = PROFILES[profile]
    found = Table(f"{profile}: {line.words}; {results[0].of} slices", COLUMNS)
    for result in results:
        found.rows.append(
            (
                result.name,
                f"{result.arrived}/{result.of}",
                f"{result.seconds:.1f}" if result.done else "-",
                f"{result.wire_bytes / 1e6:.2f}",
                f"{result.capacity_share:.3f}",
                f"{result.effective_use:.2f}",
                f"{result.packing_ratio:.2f}",
                f"{result.bytes_sent_twice / 1000:.0f}",
                _or_dash(result.first_seconds),
                _or_dash(result.stat_seconds),
            )
        )
    found.note = " ".join(
        f"{result.name}: {'gave up' if result.has_failed else 'not done'} after {result.seconds:.0f} s:"
        f" {result.arrived} of {result.of}."
        for result in results
        if not result.done
    )
    return found


def _or_dash(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.1f}"


def goals(profile: str, results: Sequence[Result]) -> list[Goal]:
    """The sentences of the issue that speak of this line."""
    line, ours, peers = PROFILES[profile], results[0], results[1:]
    share, use = ours.capacity_share, line.share * PAYLOAD_SHARE * ours.packing_ratio
    found = [
        Goal(f"{profile}: {line.share:.0%} of what the tunnel can carry", f"{share:.1%}", share >= line.share),
        Goal(f"{profile}: effective use of {use:.0%}", f"{ours.effective_use:.0%}", ours.effective_use >= use),
    ]
    if profile == "vsat-blantyre":
        slice_seconds = ours.seconds / ours.of
        found.append(Goal(f"{profile}: 4.7 s a slice", f"{slice_seconds:.2f} s", slice_seconds <= 4.7))
    if ours.back_seconds:
        worst, twice = max(ours.back_seconds), ours.bytes_sent_twice / ours.cuts
        found.append(Goal(f"{profile}: a new byte 2 s after a cut", f"{worst:.1f} s at worst", worst <= 2))
        found.append(Goal(f"{profile}: 64 kB sent twice a cut", f"{twice / 1000:.0f} kB", twice <= 64_000))
    if profile == FAST and ours.forward_cpu is not None and ours.forward_bytes is not None:
        cpu, memory = ours.forward_cpu, ours.forward_bytes
        found.append(Goal("forward at 10 Mbit/s: 25 % of a core", f"{cpu:.1%}", cpu < 0.25))
        found.append(Goal("forward: 120 MB resident", f"{memory / 1e6:.0f} MB", memory < 120e6))
    return found + [_faster(profile, ours, peer, _times(profile, peer)) for peer in peers]


def _times(profile: str, peer: Result) -> float:
    """Twice as fast on a line with loss or cuts. Not where the files were packed beforehand: such a peer has the same
    bytes to carry, and nobody is twice as fast as one that fills more than half of the line.
    """
    return 2.0 if PROFILES[profile].is_bad and not PEERS[peer.name].j2k else 1.0


def _faster(profile: str, ours: Result, peer: Result, times: float) -> Goal:
    ratio = peer.seconds / ours.seconds
    words = f"{profile}: {'faster than' if times == 1 else 'twice as fast as'} {peer.name}"
    if peer.done:
        return Goal(words, f"{ratio:.2f}×", ratio >= times)
    return Goal(words, "it gave up" if peer.has_failed else f"over {ratio:.2f}×", peer.has_failed or ratio >= times)


def report(measured: dict[str, list[Result]]) -> Report:
    """Tables, goals and figures of all the profiles that ran."""
    found = Report("link", "A head CT over bad lines, through WireGuard")
    found.machine += ", " + versions()
    for profile, results in measured.items():
        found.tables.append(table(profile, results))
        found.goals += goals(profile, results)
    found.tables[-1].note += (
        " share: of what TCP could carry in the tunnel meanwhile, what was parcels or files that arrived. use: bytes as"
        " the modality sent them, against all that the line could carry. twice: sent again by TCP or by an upload."
        " first: seconds to the first image. stat: seconds for a radiograph that is sent during a long CT. j2k: files"
        " that were made JPEG 2000 before, which is not in their time; in ours packing is."
    )
    figures = {profile: _figures(results) for profile, results in measured.items()}
    found.figures = {"profiles": figures} if len(figures) > 1 else next(iter(figures.values()))
    return found


def _figures(results: Sequence[Result]) -> dict[str, object]:
    ours, *peers = (result.figures() for result in results)
    return {**ours, "peers": {peer["name"]: peer for peer in peers}}


def main(options: argparse.Namespace) -> None:
    """Runs it all and prints."""
    if lacking := missing():
        raise SystemExit(f"these Debian packages are missing: {' '.join(lacking)}")
    directory = scratch(options.directory)
    names = list(PROFILES) if options.all else options.profile
    options.document = options.document or options.all
    samples.slices(directory / "samples", SLICES_MAX)
    samples.radiograph(directory / "samples")
    slow = [name for name in names if name != FAST]
    with ThreadPoolExecutor(options.lines_at_once) as pool:
        runs = {name: pool.submit(measure, name, options, directory) for name in slow}
    measured = {name: run.result() for name, run in runs.items() if run.exception() is None}
    if FAST in names:  # alone: it measures the processor
        measured[FAST] = measure(FAST, options, directory)
    if measured:
        publish(report(measured), options)
    for run in runs.values():
        run.result()  # a line that could not be measured takes nothing from the others


def _peers(written: str) -> list[str]:
    names = written.split(",")
    if unknown := set(names) - set(PEERS):
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: there are {', '.join(PEERS)}")
    return names


def _parser() -> argparse.ArgumentParser:
    parser = arguments(__doc__, repeat=1)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--profile", action="append", choices=tuple(PROFILES), help="this line; may be given again")
    which.add_argument("--all", action="store_true", help="every line, and the table of docs/benchmarks.md")
    parser.add_argument(
        "--slices", type=int, metavar="N", help="of the CT; default: some minutes of the line; 140: all"
    )
    parser.add_argument("--peers", type=_peers, default=list(PEERS), metavar="A,B", help=f"of {', '.join(PEERS)}")
    parser.add_argument("--no-peers", dest="peers", action="store_const", const=[], help="ours alone")
    parser.add_argument("--no-stat", dest="stat", action="store_false", help="send no stat radiograph")
    parser.add_argument("--patience", type=float, default=3.0, metavar="N", help="times our seconds; default 3")
    parser.add_argument("--lines-at-once", type=int, default=1, metavar="N", help="lines at the same time; default 1")
    parser.add_argument("--at-once", type=int, default=4, metavar="N", help="peers at the same time; default 4")
    return parser


if __name__ == "__main__":
    sys.exit(main(_parser().parse_args()))
