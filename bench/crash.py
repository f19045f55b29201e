"""`./dev crash --n N`: N power cuts and N kills, spread over the rigs of tests/crash; one line a rig, one at the end.

A failure prints the rig and the seed that show it again: `./dev crash --rig RIG --seed SEED`.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from support.crash_runs import NAMES, Run, plan, totals
from support.power_cut import Summary


def main() -> int:
    """Returns 1 when anything was lost."""
    options = _options()
    seed = random.SystemRandom().randrange(1 << 24) if options.seed is None else options.seed
    runs = plan(options.n, seed, tuple(options.rig or NAMES))
    results: list[tuple[Run, Summary]] = []
    started = time.monotonic()
    directory = Path(tempfile.mkdtemp(prefix="crash-"))
    with ThreadPoolExecutor(options.jobs) as pool:
        for run, summary in zip(runs, pool.map(lambda run: run.do(directory), runs), strict=True):
            results.append((run, summary))
            _progress(results, runs)
    found = totals(results)
    for name, summary in found.items():
        print(f"{summary.line(name):<100}")
    whole = Summary()
    for summary in found.values():
        whole.add(summary)
    print("\n".join(whole.problems[:50]))
    seconds = time.monotonic() - started
    print(
        f"{whole.cuts} cuts and kills, {whole.acknowledged} acknowledged, lost={len(whole.problems)},"
        f" seeds from {seed}, {seconds:.0f} s"
    )
    if options.json:
        print(json.dumps({name: [s.cuts, s.acknowledged, len(s.problems)] for name, s in found.items()}))
    if not whole.problems:
        shutil.rmtree(directory, ignore_errors=True)
    else:
        print(f"Logs and what survived: {directory}")
    return 1 if whole.problems else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev crash", description=__doc__)
    parser.add_argument("--n", type=int, default=300, help="power cuts, and as many kills (300)")
    parser.add_argument("--rig", action="append", choices=NAMES, help="only this rig; may be given again")
    parser.add_argument("--seed", type=int, help="of the first run; else drawn, and printed")
    parser.add_argument("--jobs", type=int, default=2, help="runs at the same time (2)")
    parser.add_argument("--json", action="store_true", help="ends with one JSON object: rig → cuts, acknowledged, lost")
    return parser.parse_args()


def _progress(results: list[tuple[Run, Summary]], runs: list[Run]) -> None:
    done = sum(summary.cuts for _, summary in results)
    lost = sum(len(summary.problems) for _, summary in results)
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{done} of {sum(run.rounds for run in runs)} done, lost={lost}   ")
        sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
