"""Each bench with tiny sizes prints its tables, and with --json ends with one line holding one object of figures."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import benches
from support.benches import ingest_cases, run_bench
from support.data import CHECKOUT

POWERLESS = () if os.geteuid() else ("setpriv", "--bounding-set", "-sys_admin,-net_admin")


BENCHES = {path.stem for path in (CHECKOUT / "bench").glob("*.py")} - {"crash", "demo", "demo_files"}


@pytest.mark.parametrize("name", sorted(BENCHES))
def test_every_bench_takes_json(name: str) -> None:
    asked = [sys.executable, f"bench/{name}.py", "--help"]
    said = subprocess.run(asked, cwd=CHECKOUT, capture_output=True, text=True, timeout=60, check=True).stdout
    assert "--json" in said
    assert "end with one line: one JSON object" in " ".join(said.split())


@pytest.fixture
def real_disk() -> Iterator[Path]:
    with benches.real_disk() as directory:
        yield directory


@pytest.mark.needs_series
def test_ingest_without_the_right_to_namespaces_leaves_the_lan_out_and_says_so_in_a_line(real_disk: Path) -> None:
    words = ("--repeat", "1", "--slices", "4")
    lines, figures = run_bench("ingest", *words, directory=real_disk, through=POWERLESS)
    assert ingest_cases(figures, "loopback") == {
        *((name, mode, 1) for name in ("unit", "Orthanc", "storescp") for mode in (False, True)),
        *(("unit", mode, 4) for mode in (False, True)),
        *(("storescp --fork", True, senders) for senders in (1, 4)),
    }
    assert ingest_cases(figures, "LAN") == set()
    assert any(line.startswith("storescp --fork") for line in lines)
    (said,) = (line for line in lines if "LAN" in line)
    assert said.startswith("LAN left out: it needs root")
    assert said.endswith("Operation not permitted)")


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


def test_eta_counts_how_often_a_range_held(real_disk: Path) -> None:
    _, figures = run_bench("eta", "--days", "3", "--profile", "shared", directory=real_disk)
    held = figures["shared"]
    assert held["studies"] > 20
    assert held["held"] + held["early"] + held["late"] == pytest.approx(1)


@pytest.mark.needs_root
@pytest.mark.needs_series
def test_link_says_of_each_what_the_line_carried_for_it(real_disk: Path) -> None:
    words = ("--profile", "ten-mbit", "--slices", "3", "--peers", "rsync-j2k", "--no-stat")
    lines, figures = run_bench("link", *words, directory=real_disk)
    peer = figures["peers"]["rsync-j2k"]
    for one in (figures, peer):
        assert one["done"]
        assert 0 < one["capacity_share"] < 1
        assert 0 < one["effective_use"] < one["packing_ratio"]
        assert {"bytes_sent_twice", "seconds", "wire_bytes"} <= set(one)
    assert figures["forward_cpu"] > 0
    assert any(line.startswith("rsync-j2k") for line in lines)


@pytest.mark.needs_root
@pytest.mark.needs_series
def test_storm_counts_requests_and_waits_of_every_site(real_disk: Path) -> None:
    words = ("--sites", "4", "--parcels", "2", "--outage", "2")
    _, figures = run_bench("storm", *words, directory=real_disk)
    assert figures["sites"] == 4
    assert all(len(seconds) == 4 for seconds in figures["waits"].values())
    assert 0 <= figures["fairness"] <= 1  # so short a run may have nothing whole at its half
    assert figures["capacity_share"] > 0
