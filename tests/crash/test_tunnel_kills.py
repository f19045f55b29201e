"""SIGKILL for the process `tunnel` while its line comes and goes: the interface and the kept time are as they were."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.crash_runs import Run, plan

pytestmark = [pytest.mark.needs_root, pytest.mark.timeout(300)]
KILLS = plan(8, seed=1, names=("tunnel",))


@pytest.mark.parametrize("run", KILLS, ids=lambda run: f"seed-{run.seed}")
def test_a_killed_tunnel_process_leaves_nothing_half_done_and_the_next_one_brings_the_tunnel_up(
    run: Run, tmp_path: Path
) -> None:
    summary = run.do(tmp_path)

    assert summary.problems == []
    assert summary.cuts == run.rounds == 8
