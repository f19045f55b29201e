"""Studies go through a real tunnel over short bad lines, as `./dev bench link` sends them over long ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness import samples
from harness.contestants import Ours, StorescuJ2k
from harness.profiles import PAYLOAD_SHARE
from harness.race import Result, race
from harness.samples import Sample
from harness.wireguard import Tunnel
from support.data import CHECKOUT

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_series]
SAMPLES = CHECKOUT / ".cache" / "bench" / "link" / "samples"


@pytest.fixture(scope="module")
def slices() -> list[Sample]:
    return samples.slices(SAMPLES, 2)


def ours(slices: list[Sample], directory: Path, name: str, **line: object) -> Result:
    """What our sender does on a line made by hand."""
    result = race("ours", Ours, {"profile": name, **line}, slices, directory, patience=60)
    assert result.done, f"{result.arrived} of {result.of} arrived in {result.seconds:.0f} s"
    assert result.content_bytes < 0.5 * result.plain_bytes
    return result


def test_a_steady_line_is_filled_and_no_parcel_goes_twice(slices: list[Sample], tmp_path: Path) -> None:
    result = ours(slices, tmp_path, "satellite", spells=[(60, 1200)], round_trip=0.3)
    assert result.capacity_share > 0.5  # of so short a run the start is a good part
    assert result.resent == 0
    assert result.content_bytes < PAYLOAD_SHARE * result.wire_bytes
    assert result.effective_use == pytest.approx(PAYLOAD_SHARE * result.capacity_share * result.packing_ratio)


def test_a_cut_line_goes_on_by_itself_from_the_byte_where_it_was(slices: list[Sample], tmp_path: Path) -> None:
    result = ours(slices, tmp_path, "cut", spells=[(2, 800), (3, 0), (60, 1200)], round_trip=0.3)
    assert result.cuts == 1
    (back,) = result.back_seconds
    assert back < 10
    assert result.resent < 150_000


def test_a_line_that_loses_packets_in_bursts_is_used_all_the_same(slices: list[Sample], tmp_path: Path) -> None:
    result = ours(slices, tmp_path, "lossy", spells=[(60, 1200)], round_trip=0.2, loss=0.08, burst=2.0)
    assert result.capacity_share > 0.3
    assert result.sent_again > 0
    assert result.resent == 0


def test_a_line_that_stays_away_leaves_a_peer_unfinished_and_the_bench_says_so(
    slices: list[Sample], tmp_path: Path
) -> None:
    line = {"profile": "gone", "spells": [(1, 400), (600, 0)], "round_trip": 0.1}
    result = race("storescu-j2k", StorescuJ2k, line, slices, tmp_path, patience=4)
    assert (result.done, result.arrived, result.of) == (False, 0, 2)
    assert result.seconds > 4


def test_what_is_not_for_the_tunnel_finds_no_way_to_the_hub(tmp_path: Path) -> None:
    with Tunnel(tmp_path) as tunnel:
        routes = tunnel.site.run("ip", "route").split("\n")
        assert not any(route.startswith("default") for route in routes)
        assert tunnel.site.run("ip", "route", "get", tunnel.hub.address).split()[2] == tunnel.site.interface
