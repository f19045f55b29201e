"""The learner, fed by hand, and the row that the page reads, written by the real thread."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from support import rows
from support.processes import wait_for

from appliance.config import Storage, UnitConfig
from appliance.link.forecast import Calibration
from appliance.link.history import History
from appliance.store_forward import forecasts
from appliance.store_forward.database import open_database, transaction
from appliance.store_forward.forecasts import Facts, Learner, learning
from appliance.store_forward.views import read_line

RATE = 1000
START = 50_000.0


@pytest.fixture(autouse=True)
def _few_plays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.link.forecast._PLAYS", 20)


def live(learner: Learner, minutes: int, *, backlog: int, up: bool = True, start: float = START) -> float:
    """So many minutes with this much in the queue at first, carried at RATE while the line is up. Returns the end."""
    now, left = start, backlog
    for _ in range(minutes * 4 + 1):
        learner.look(Facts(max(0, left), 0, up, float(RATE) if up else 0.0), 0, 10.0, now)
        now += 15
        left -= RATE * 15 if up else 0
    return now - 15


def test_minutes_with_something_to_send_give_rates() -> None:
    learner = Learner(History(), Calibration())
    live(learner, 5, backlog=10_000_000)
    assert learner.history.hours[10].rates == (float(RATE),) * 5


def test_an_idle_line_is_watched_and_gives_no_rate() -> None:
    learner = Learner(History(), Calibration())
    live(learner, 5, backlog=0)
    assert learner.history.hours[10].rates == ()
    assert learner.history.hours[10].up_minutes > 4.9
    assert learner.expected == []


def test_what_is_packed_meanwhile_is_not_taken_for_a_line_that_goes_backwards() -> None:
    learner = Learner(History(), Calibration())
    for number in range(9):
        built = 50_000 if number else 0
        learner.look(Facts(1_000_000 + number * (50_000 - 15 * RATE), 0, True, 0.0), built, 10.0, START + 15 * number)
    assert learner.history.hours[10].rates == (float(RATE),) * 2


def test_an_outage_is_learnt_with_its_length() -> None:
    learner = Learner(History(), Calibration())
    end = live(learner, 3, backlog=10_000_000)
    end = live(learner, 6, backlog=9_000_000, up=False, start=end)
    live(learner, 2, backlog=9_000_000, start=end)
    ((outage),) = learner.history.outages
    assert 5 <= outage.minutes <= 7


def test_an_estimate_is_checked_against_what_came_of_it() -> None:
    learner = Learner(History(), Calibration())
    live(learner, 40, backlog=35 * 60 * RATE)
    assert sum(learner.calibration.seen) >= 5
    assert learner.expected == []  # all is there


def test_a_queue_has_a_rising_range_for_each_amount() -> None:
    learner = Learner(History(), Calibration())
    live(learner, 10, backlog=100 * 60 * RATE)
    sizes = [size for size, _, _ in learner.expected]
    assert sizes == sorted(sizes)
    assert sizes[-1] >= 90 * 60 * RATE
    assert all(soonest <= size / RATE <= latest * 1.05 for size, soonest, latest in learner.expected if size > 1e6)


def unit(data: Path) -> UnitConfig:
    return UnitConfig(storage=Storage(data=str(data)))


def test_the_page_reads_what_the_thread_wrote_and_it_is_learnt_on_after_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forecasts, "LOOK_SECONDS", 0.02)
    with contextlib.closing(open_database(tmp_path)) as db:
        learnt = Learner(History(), Calibration())
        live(learnt, 30, backlog=10_000_000)
        with transaction(db):
            forecasts._learn(db, learnt)
            rows.insert(db, "link", id=1, up=1, since=0, rate=1000.0, round_trip_ms=1.0)
            rows.add_parcel(db, rows.add_study(db), bytes=600_000)
        with learning(unit(tmp_path)):
            wait_for(lambda: db.execute("SELECT expected FROM link_model").fetchone()[0] != "[]", "something is said")
            now = db.execute("SELECT expected_at FROM link_model").fetchone()[0]
            rows.insert(db, "process", name="forward", pid=1, started_at=0, beat_at=now, status="")
            line = read_line(db, now)
        assert line.expected
        assert any(size >= 600_000 and 300 <= latest <= 3000 for size, _, latest in line.expected)
        assert read_line(db, now + 10_000_000).expected == ()
        kept = json.loads(db.execute("SELECT history FROM link_model").fetchone()[0])
        assert len(kept["hours"]) == 24


def test_a_model_that_can_not_be_read_is_learnt_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecasts, "LOOK_SECONDS", 0.02)
    with contextlib.closing(open_database(tmp_path)) as db:
        db.execute("INSERT INTO link_model (id, history, calibration, learnt_at) VALUES (1, 'x', '{', 0)")
        with learning(unit(tmp_path)):
            wait_for(lambda: db.execute("SELECT expected_at FROM link_model").fetchone()[0] > 0, "it goes on")
