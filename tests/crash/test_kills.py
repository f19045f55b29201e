"""SIGKILL for each process, 300 times, while studies flow: at the end everything is at the hub, once."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.crash_runs import Run, plan
from support.kills import VICTIMS

KILLS = plan(300, seed=1, names=("kills",))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("run", KILLS, ids=lambda run: f"seed-{run.seed}")
def test_everything_is_delivered_once_whatever_is_killed(run: Run, tmp_path: Path) -> None:
    summary = run.do(tmp_path)

    assert summary.problems == []
    assert summary.cuts == run.rounds
    assert set(summary.prevented) == set(VICTIMS)
    assert summary.acknowledged > 0


def test_the_kills_of_ci_are_300() -> None:
    assert sum(run.rounds for run in KILLS) == 300
