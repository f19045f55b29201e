"""Each bench with tiny sizes prints its tables, and with --json ends with one line holding one object of figures."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.data import CHECKOUT


@pytest.fixture
def real_disk() -> Iterator[Path]:
    """A directory below the checkout: /tmp is in memory on Debian 13, where a bench refuses to measure."""
    (CHECKOUT / ".cache").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=CHECKOUT / ".cache") as directory:
        yield Path(directory)


def run_bench(name: str, *words: str, directory: Path) -> tuple[list[str], dict[str, Any]]:
    """The lines that people read, and the object in the last line."""
    command = [sys.executable, "-W", "ignore", f"bench/{name}.py", "--json", "--directory", str(directory), *words]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    *lines, last = done.stdout.splitlines()
    figures: dict[str, Any] = json.loads(last)
    assert figures["bench"] == name
    assert figures["machine"]
    assert {"goal", "figure", "met"} == set(figures["goals"][0])
    assert max(map(len, lines)) <= 100
    return lines, figures


@pytest.mark.needs_series
def test_ingest_measures_every_receiver_in_both_modes_of_the_sender(real_disk: Path) -> None:
    lines, figures = run_bench("ingest", "--repeat", "1", "--slices", "4", directory=real_disk)
    measured = {(run["receiver"], run["tcp_nodelay"], run["senders"]) for run in figures["runs"]}
    assert measured == {
        *((name, mode, 1) for name in ("unit", "Orthanc", "storescp") for mode in (False, True)),
        *(("unit", mode, 4) for mode in (False, True)),
    }
    assert all(run["instances_per_second"] > 0 for run in figures["runs"])
    assert any(line.startswith("storescp") for line in lines)


def test_memory_watches_each_process_of_unit_and_hub(real_disk: Path) -> None:
    _, figures = run_bench("memory", "--repeat", "1", "--short", "2", "--long", "6", directory=real_disk)
    peaks = figures["peak_bytes"]["6"][0]
    assert {"receive", "compress", "compress worker", "forward", "web", "hub"} <= set(peaks)
    assert all(1e6 < peak < 1e9 for peak in peaks.values())


@pytest.mark.needs_series
def test_pack_counts_the_bytes_of_every_way_and_the_headers_of_ours(real_disk: Path) -> None:
    words = ("--repeat", "1", "--limit", "6", "--only", "mr-dwi-siemens-100")
    _, figures = run_bench("pack", *words, directory=real_disk)
    (sizes,) = figures["series"].values()
    (ours,) = sizes["runs"]


def test_eta_counts_how_often_a_range_held(real_disk: Path) -> None:
    _, figures = run_bench("eta", "--days", "3", "--profile", "shared", directory=real_disk)
    held = figures["shared"]
    assert held["studies"] > 20
    assert held["held"] + held["early"] + held["late"] == pytest.approx(1)
    assert 0 < ours["headers"] < ours["bytes"] < ours["wire"] < sizes["raw"]
    assert ours["bytes"] < sizes["deflate"] < sizes["j2k"] < sizes["raw"]
    assert 0 < sizes["orthanc"] < sizes["raw"]
    assert sizes["speeds"][0] > 0


def test_backlog_asks_the_page_and_both_schedulers(real_disk: Path) -> None:
    _, figures = run_bench("backlog", "--repeat", "3", "--instances", "3000", directory=real_disk)
    assert figures["instances"] == 3000
    assert {"page: list of studies", "page: one study", "forward: next parcels", "compress: next instances"} <= set(
        figures["milliseconds"]
    )
    assert all(len(times) == 3 for times in figures["milliseconds"].values())
