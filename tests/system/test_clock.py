"""The clock of a unit jumps: back an hour, to 1970, years ahead. Studies still go, in order, and settle."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from support.mini_system import MiniSystem
from support.processes import wait_for

HOUR = 3_600_000
JUMPS = {
    "an hour back": -HOUR,
    "to 1970": -int(time.time() * 1000) + 1000,
    "three years ahead": 3 * 365 * 24 * HOUR,
    "back again": 0,
}


@pytest.mark.timeout(240)
def test_a_clock_that_jumps_loses_nothing_and_stops_nothing(tmp_path: Path) -> None:
    with MiniSystem(tmp_path, rooms=("receive", "compress", "forward", "web", "hub")) as system:
        system.start("hub", "receive", "compress", "forward", "web")
        system.await_listeners()
        modality = system.modality("81", pause=0.25, study_size=12)
        for name, offset in JUMPS.items():
            delivered = system.delivered() if modality.acknowledged else 0
            system.launcher.move_clock(offset)
            wait_for(lambda delivered=delivered: system.delivered() > delivered + 3, f"delivery goes on {name}", 60.0)
        modality.stop()
        assert system.ended() == []
        assert system.settle(modality.acknowledged, 120.0) == []
        numbers = [int(row[0]) for row in system.rows("SELECT instance_number FROM instance ORDER BY id")]
        assert numbers == sorted(numbers)
        wait_for(lambda: _all_whole(system), "every study is called whole", 30.0)


def test_a_clock_that_jumps_back_in_the_middle_of_a_study_still_lets_it_settle(tmp_path: Path) -> None:
    with MiniSystem(tmp_path, rooms=("receive", "compress", "forward", "hub")) as system:
        system.launcher.move_clock(30 * 24 * HOUR)
        system.start("hub", "receive", "compress", "forward")
        system.await_listeners()
        modality = system.modality("82", pause=0.2, study_size=10_000)
        wait_for(lambda: len(modality.acknowledged) > 10, "half a study is stored")
        system.launcher.move_clock(0)
        stored = len(modality.acknowledged)
        wait_for(lambda: len(modality.acknowledged) > stored + 10, "the other half is stored")
        modality.stop()
        assert system.settle(modality.acknowledged, 120.0) == []
        wait_for(lambda: _all_whole(system), "the study is called whole", 30.0)


def _all_whole(system: MiniSystem) -> bool:
    return bool(system.rows("SELECT min(whole_at IS NOT NULL) FROM study")[0][0])
