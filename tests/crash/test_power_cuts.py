"""300 power cuts on a disk that forgets what was not fsynced: nothing that anybody was told is safe gets lost.

`./dev crash --n N` does the same N times. The tests of a left-out fsync prove that the rigs would see it.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from support.crash_runs import RIGS, Run, plan
from support.power_cut import generation

pytestmark = [pytest.mark.needs_root, pytest.mark.timeout(600)]
CUTS = [run for run in plan(300, seed=1) if run.name in RIGS]
WAYS_TO_LOSE = ("no file fsync", "no directory fsync", "synchronous NORMAL", "synchronous OFF")


@pytest.mark.parametrize("run", CUTS, ids=lambda run: f"{run.name}-seed-{run.seed}")
def test_what_was_acknowledged_survives_a_power_cut_at_any_call(run: Run, tmp_path: Path) -> None:
    summary = run.do(tmp_path)

    assert summary.problems == []
    assert summary.cuts == run.rounds
    assert summary.acknowledged > 0


@pytest.mark.parametrize("fault", WAYS_TO_LOSE)
@pytest.mark.parametrize("rig", ["receive", "hub"])
def test_a_left_out_fsync_is_seen(rig: str, fault: str, tmp_path: Path) -> None:
    summary = generation(RIGS[rig], tmp_path, seed=3, cuts=60, faults=(fault,))

    assert summary.problems != []


@pytest.mark.parametrize("fault", ["no file fsync", "no directory fsync"])
def test_a_left_out_fsync_of_a_parcel_is_seen(fault: str, tmp_path: Path) -> None:
    """The spool keeps its fsyncs: only `compress` leaves one out."""
    summary = generation(RIGS["packing"], tmp_path, seed=4, cuts=60, faults=(f"compress: {fault}",))

    assert any("parcel" in problem for problem in summary.problems)


def test_the_cuts_of_ci_are_300() -> None:
    assert sum(run.rounds for run in CUTS) == 300
