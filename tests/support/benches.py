"""A bench run as people run it, with tiny sizes."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support.data import CHECKOUT


@contextmanager
def real_disk() -> Iterator[Path]:
    """A directory below the checkout: /tmp is in memory on Debian 13, where a bench refuses to measure."""
    (CHECKOUT / ".cache").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=CHECKOUT / ".cache") as directory:
        yield Path(directory)


def run_bench(name: str, *words: str, directory: Path, through: Sequence[str] = ()) -> tuple[list[str], dict[str, Any]]:
    """The lines that people read, and the object in the last line. `through` are words before the command."""
    command = [*through, sys.executable, "-W", "ignore", f"bench/{name}.py", "--json"]
    command += ["--directory", str(directory), *words]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    *lines, last = done.stdout.splitlines()
    figures: dict[str, Any] = json.loads(last)
    assert figures["bench"] == name
    assert figures["machine"]
    assert {"goal", "figure", "met"} == set(figures["goals"][0])
    assert max(map(len, lines)) <= 100
    return lines, figures


def ingest_cases(figures: dict[str, Any], network: str) -> set[tuple[str, bool, int]]:
    """What the ingest bench measured over that network: receiver, TCP_NODELAY, senders."""
    runs = [run for run in figures["runs"] if run["network"] == network]
    assert all(run["instances_per_second"] > 0 for run in runs)
    return {(run["receiver"], run["tcp_nodelay"], run["senders"]) for run in runs}
