"""What may go now, what holds the rest, and until when: against the clock on the wall, minute by minute."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from appliance.config import Link, LinkUplink, LinkWindow
from appliance.link.allowance import DAYS, Allowance, Pause, Reason, Usage, allow, month_of, never, rules_of
from appliance.model.priority import Priority

STAT, URGENT, ROUTINE, PRIOR = Priority
BLANTYRE, PARIS = "Africa/Blantyre", "Europe/Paris"
MINUTE = 60_000


def at(text: str, zone: str = BLANTYRE, *, fold: int = 0) -> int:
    """Unix ms of a local time such as 2026-03-29 01:30."""
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()) * 1000


def allowed(link: Link, text: str, *, zone: str = BLANTYRE, usage: Usage | None = None, fold: int = 0) -> Allowance:
    return allow(rules_of(link, zone), usage or Usage(), None, at(text, zone, fold=fold))


NIGHT = Link(windows=(LinkWindow(opens="20:00", closes="06:00"),))
SIM = Link(uplinks=(LinkUplink(name="SIM", monthly_mb=5, stat_extra_mb=2),))


def test_without_rules_everything_goes_and_nothing_will_change() -> None:
    assert allowed(Link(), "2026-03-04 12:00") == Allowance(rate=None, holds={}, changes_at=None)


# Hours


def test_outside_the_hours_only_stat_goes_and_the_time_of_the_next_is_told() -> None:
    found = allowed(NIGHT, "2026-03-04 12:00")
    assert found.may_go == {STAT}
    assert found.hold is not None
    assert (found.hold.reason, found.hold.until) == (Reason.HOURS, at("2026-03-04 20:00"))
    assert found.changes_at == at("2026-03-04 20:00")


def test_a_window_across_midnight_belongs_to_the_day_it_opens_on() -> None:
    friday = Link(windows=(LinkWindow(days=("fri",), opens="20:00", closes="06:00"),))
    assert ROUTINE in allowed(friday, "2026-03-07 05:59").may_go  # Saturday
    assert ROUTINE not in allowed(friday, "2026-03-06 05:59").may_go
    assert ROUTINE not in allowed(friday, "2026-03-07 06:00").may_go
    hold = allowed(friday, "2026-03-07 06:00").hold
    assert hold is not None
    assert hold.until == at("2026-03-13 20:00")


def test_sunday_night_reaches_into_monday() -> None:
    sunday = Link(windows=(LinkWindow(days=("sun",), opens="22:00", closes="02:00"),))
    assert ROUTINE in allowed(sunday, "2026-03-09 01:59").may_go


def test_a_window_that_closes_as_it_opens_lasts_a_day_and_one_to_24_00_ends_with_it() -> None:
    day = Link(windows=(LinkWindow(days=("mon",), opens="08:00", closes="08:00"),))
    assert ROUTINE in allowed(day, "2026-03-10 07:59").may_go
    assert ROUTINE not in allowed(day, "2026-03-10 08:00").may_go
    whole = Link(windows=(LinkWindow(days=("mon",)),))
    assert ROUTINE in allowed(whole, "2026-03-09 23:59").may_go
    assert ROUTINE not in allowed(whole, "2026-03-10 00:00").may_go


def test_the_first_window_that_holds_says_who_goes_and_how_fast() -> None:
    link = Link(
        rate_kbit=256,
        windows=(
            LinkWindow(opens="08:00", closes="17:00", rate_kbit=64, priorities=("stat", "urgent")),
            LinkWindow(),
        ),
    )
    day, night = allowed(link, "2026-03-04 08:00"), allowed(link, "2026-03-04 17:00")
    assert (day.rate, day.may_go) == (8000.0, {STAT, URGENT})
    assert (night.rate, night.may_go) == (32000.0, set(Priority))
    assert night.changes_at == at("2026-03-05 08:00")


def test_stat_waits_for_the_hours_too_where_the_site_says_so() -> None:
    link = Link(windows=NIGHT.windows, stat_any_time=False)
    assert allowed(link, "2026-03-04 12:00").may_go == set()


def test_an_hour_that_the_clocks_skip_does_not_come_and_does_not_stick() -> None:
    link = Link(windows=(LinkWindow(opens="02:00", closes="03:00"),))
    before = allowed(link, "2026-03-29 01:59", zone=PARIS)
    assert ROUTINE not in before.may_go
    assert before.hold is not None
    assert before.hold.until == at("2026-03-30 02:00", PARIS)
    assert ROUTINE not in allowed(link, "2026-03-29 03:00", zone=PARIS).may_go


def test_an_hour_that_comes_twice_is_open_twice() -> None:
    link = Link(windows=(LinkWindow(opens="02:00", closes="02:30"),))
    assert ROUTINE in allowed(link, "2026-10-25 02:10", zone=PARIS).may_go
    between = allowed(link, "2026-10-25 02:40", zone=PARIS)
    assert between.hold is not None
    assert between.hold.until == at("2026-10-25 02:00", PARIS, fold=1)
    assert ROUTINE in allowed(link, "2026-10-25 02:10", zone=PARIS, fold=1).may_go


# Budgets


def test_a_spent_budget_lets_stat_go_until_its_own_extra_is_spent_too() -> None:
    def used(count: int) -> Allowance:
        return allowed(SIM, "2026-12-31 23:00", usage=Usage(uplink="SIM", bytes=count))

    assert used(4_999_999).may_go == set(Priority)
    assert used(5_000_000).may_go == {STAT}
    assert used(7_000_000).may_go == set()
    hold = used(5_000_000).hold
    assert hold is not None
    assert (hold.reason, hold.name, hold.until) == (Reason.BUDGET, "SIM", at("2027-01-01 00:00"))


def test_the_budget_of_another_uplink_holds_nothing() -> None:
    assert allowed(SIM, "2026-03-04 12:00", usage=Usage(uplink="fibre", bytes=10**12)).holds == {}


def test_a_month_is_that_of_the_site() -> None:
    assert month_of(ZoneInfo(BLANTYRE), at("2026-02-01 00:00")) == "2026-02"
    assert month_of(ZoneInfo("UTC"), at("2026-02-01 00:00")) == "2026-01"


# Rules that can never be met


def test_a_budget_of_nothing_is_told_and_lets_stat_past() -> None:
    link = Link(uplinks=(LinkUplink(name="SIM", monthly_mb=0),))
    assert set(never(rules_of(link, BLANTYRE))) == {URGENT, ROUTINE, PRIOR}
    found = allowed(link, "2026-03-04 12:00", usage=Usage(uplink="SIM"))
    assert found.may_go == {STAT}
    assert all(hold.never and hold.until is None for hold in found.holds.values())
    rescued = Link(uplinks=(*link.uplinks, LinkUplink(name="fibre")))
    assert never(rules_of(rescued, BLANTYRE)) == {}


def test_a_priority_that_no_window_names_or_that_another_window_always_hides_is_told() -> None:
    unnamed = Link(windows=(LinkWindow(priorities=("stat", "urgent", "routine")),))
    hidden = Link(windows=(LinkWindow(priorities=("urgent",)), LinkWindow(opens="20:00", priorities=("prior",))))
    assert set(never(rules_of(unnamed, BLANTYRE))) == {PRIOR}
    assert set(never(rules_of(hidden, BLANTYRE))) == {ROUTINE, PRIOR}
    found = allowed(hidden, "2026-03-04 21:00").holds[PRIOR]
    assert (found.until, found.never) == (None, True)


# The pause


def test_a_pause_holds_all_but_stat_and_ends_by_itself() -> None:
    now = at("2026-03-04 12:00")
    pause = Pause(at=now, by="Grace", until=now + 120 * MINUTE)
    rules = rules_of(Link(), BLANTYRE)
    found = allow(rules, Usage(), pause, now)
    assert found.may_go == {STAT}
    assert found.hold is not None
    assert (found.hold.reason, found.hold.name, found.hold.until) == (Reason.PAUSED, "Grace", pause.until)
    assert found.changes_at == pause.until
    assert allow(rules, Usage(), pause, now + 120 * MINUTE).holds == {}


def test_a_pause_may_hold_stat_too_and_has_no_end_of_its_own() -> None:
    found = allow(rules_of(Link(), BLANTYRE), Usage(), Pause(at=0, by="Grace", stat_too=True), 1)
    assert (found.may_go, found.changes_at) == (set(), None)


def test_of_several_rules_the_pause_is_told_before_the_budget_and_that_before_the_hours() -> None:
    link = Link(windows=NIGHT.windows, uplinks=SIM.uplinks)
    rules, spent, noon = rules_of(link, BLANTYRE), Usage(uplink="SIM", bytes=6_000_000), at("2026-03-04 12:00")
    found = [allow(rules, usage, pause, noon).hold for usage, pause in ((spent, Pause(at=1, by="G")), (spent, None))]
    assert [hold.reason for hold in found if hold] == [Reason.PAUSED, Reason.BUDGET]


# Against the wall

TIMES = st.integers(0, 47).map(lambda half: f"{half // 2:02d}:{30 * (half % 2):02d}")
WINDOWS = st.builds(
    LinkWindow,
    days=st.lists(st.sampled_from(DAYS), min_size=1, max_size=7, unique=True).map(tuple),
    opens=TIMES,
    closes=TIMES,
    priorities=st.lists(st.sampled_from([p.word for p in Priority]), unique=True).map(tuple),
)
LINKS = st.builds(Link, windows=st.lists(WINDOWS, min_size=1, max_size=3).map(tuple), stat_any_time=st.booleans())
ZONES = st.sampled_from([BLANTYRE, PARIS, "Australia/Lord_Howe", "Asia/Kathmandu"])
NOWS = st.sampled_from(
    ["2026-03-28 12:00", "2026-03-29 00:00", "2026-10-24 18:00", "2026-10-25 01:00", "2026-04-04 20:00"]
)


@settings(max_examples=25, deadline=None)
@given(LINKS, ZONES, NOWS)
@example(Link(windows=(LinkWindow(opens="01:30", closes="02:30"),)), PARIS, "2026-10-25 01:00")
def test_what_is_told_to_change_changes_then_and_nothing_changes_before(link: Link, zone: str, start: str) -> None:
    rules, now = rules_of(link, zone), at(start, zone)
    found = allow(rules, Usage(), None, now)
    limit = min(found.changes_at or now + 10**9, now + 60 * 60 * MINUTE)
    for step in range(now, limit, 10 * MINUTE):
        assert allow(rules, Usage(), None, step).may_go == found.may_go
    for priority, hold in found.holds.items():
        if hold.until is not None:
            assert priority not in allow(rules, Usage(), None, hold.until - MINUTE).may_go
            assert priority in allow(rules, Usage(), None, hold.until).may_go
        assert hold.never == (hold.until is None)


@settings(max_examples=25, deadline=None)
@given(LINKS)
def test_what_is_told_never_to_go_never_goes_in_a_week(link: Link) -> None:
    rules, now = rules_of(link, BLANTYRE), at("2026-03-02 00:00")
    shut = never(rules)
    seen: set[Priority] = set()
    for half_hour in range(7 * 48):
        seen |= allow(rules, Usage(), None, now + half_hour * 30 * MINUTE).may_go
    assert seen == set(Priority) - shut.keys()


@pytest.mark.parametrize("days", [1, 40, 400])
def test_a_clock_that_jumps_leaves_nothing_stuck(days: int) -> None:
    noon = datetime.fromisoformat("2026-03-04 12:00") + timedelta(days=days)
    found = allowed(NIGHT, noon.isoformat(" "))
    assert found.hold is not None
    assert found.hold.until == at(noon.replace(hour=20).isoformat(" "))
