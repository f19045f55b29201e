"""How long the hub has been up: what is saved counts on, and nothing else moves it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.hub import hub_config
from support.processes import wait_for

from appliance.hub.index.database import Index
from appliance.hub.uptime import Uptime

DAY = 86_400_000


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    opened = Index.open(hub_config(tmp_path))
    yield opened
    opened.close()


def test_a_hub_counts_on_from_what_it_saved(index: Index) -> None:
    first = Uptime(index)
    assert first.milliseconds() < 60_000
    wait_for(lambda: first.milliseconds() > 20, "it counts")
    first.save()
    assert 20 < Uptime(index).milliseconds() < 60_000


def test_a_clock_that_jumps_moves_the_time_of_day_alone(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    counting = Uptime(index)
    before = counting.moment()
    monkeypatch.setattr(sys.modules[Uptime.__module__], "now_ms", lambda: before.at + 1000 * DAY)
    after = counting.moment()
    assert after.at - before.at == 1000 * DAY
    assert after.up - before.up < 60_000
