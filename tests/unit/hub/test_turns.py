"""Sites take turns at the hub's check, whatever each has piled up and however urgent it calls that."""

from __future__ import annotations

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from appliance.hub.turns import Turns, Waiting

SITES = "abcde"


class Day:
    """What waits at a hub: each site's parcels, stat ones first, then as they came. `log`: whose turn it was."""

    def __init__(self) -> None:
        self.queues: dict[str, list[tuple[bool, int]]] = defaultdict(list)
        self.turns = Turns()
        self.log: list[Waiting] = []
        self._number = 0

    def arrive(self, site: str, *, stat: bool = False) -> None:
        self._number += 1
        self.queues[site].append((not stat, self._number))
        self.queues[site].sort()

    @property
    def waiting(self) -> list[Waiting]:
        return [Waiting(site, queue[0][1], stat=not queue[0][0]) for site, queue in self.queues.items() if queue]

    def turn(self) -> Waiting | None:
        waiting = self.waiting
        if not waiting:
            return None
        taken, self.turns = self.turns.take(waiting)
        assert taken in waiting
        del self.queues[taken.site][0]
        self.log.append(taken)
        return taken

    def wait_of(self, site: str) -> list[str]:
        """The turns of others before the next one of `site`."""
        passed = []
        while (taken := self.turn()) and taken.site != site:
            passed.append(taken.site)
        assert taken
        return passed


ARRIVALS = st.lists(st.lists(st.tuples(st.sampled_from(SITES), st.booleans()), max_size=4), max_size=40)


def a_day(arrivals: list[list[tuple[str, bool]]], *, stat: bool) -> Day:
    """Parcels come and are checked, one between any two arrivals."""
    day = Day()
    for some in arrivals:
        for site, is_stat in some:
            day.arrive(site, stat=is_stat and stat)
        day.turn()
    return day


@given(ARRIVALS, st.lists(st.integers(0, 30), min_size=5, max_size=5))
def test_each_other_site_delays_a_parcel_by_one_of_its_own_at_most(
    arrivals: list[list[tuple[str, bool]]], piles: list[int]
):
    day = a_day(arrivals, stat=False)
    for site, pile in zip(SITES, piles, strict=True):
        for _ in range(pile):
            day.arrive(site)
    day.queues["v"].clear()
    day.arrive("v")
    passed = day.wait_of("v")
    assert len(passed) == len(set(passed))


@given(ARRIVALS, st.lists(st.booleans(), min_size=60, max_size=60))
def test_not_even_sites_that_call_everything_stat_keep_another_waiting_for_long(
    arrivals: list[list[tuple[str, bool]]], stats: list[bool]
):
    """At least every second turn goes round."""
    day = a_day(arrivals, stat=True)
    for number, stat in enumerate(stats):
        day.arrive(SITES[number % len(SITES)], stat=stat)
    day.queues["v"].clear()
    day.arrive("v")
    assert len(day.wait_of("v")) <= 2 * len(SITES)


@given(st.integers(0, 50), st.booleans())
def test_of_two_sites_neither_has_two_turns_while_the_other_waits(before: int, stat: bool):
    day = Day()
    for _ in range(before + 100):
        day.arrive("flood", stat=stat)
    for _ in range(before):
        day.turn()
    for _ in range(20):
        day.arrive("v")
    for _ in range(20):
        assert len(day.wait_of("v")) <= 1


@given(ARRIVALS)
def test_of_two_turns_in_a_row_one_is_for_a_stat_parcel_that_waits_meanwhile(arrivals: list[list[tuple[str, bool]]]):
    day = Day()
    waited_before: set[Waiting] = set()
    for some in [*arrivals, *[[]] * 40]:
        for site, stat in some:
            day.arrive(site, stat=stat)
        waits = {one for one in day.waiting if one.stat}
        day.turn()
        if waits & waited_before:
            assert any(one.stat for one in day.log[-2:])
        waited_before = waits


def test_a_stat_parcel_goes_before_all_sites_whose_turn_it_is():
    day = Day()
    for site in "abcd":
        day.arrive(site)
    day.arrive("e", stat=True)
    assert [one.site for one in (day.turn(), day.turn(), day.turn()) if one] == ["e", "a", "b"]


def test_at_first_the_oldest_parcel_goes_and_a_site_that_was_away_waits_for_nobody():
    day = Day()
    for site in "baab":
        day.arrive(site)
    assert [one.site for one in (day.turn(), day.turn()) if one] == ["b", "a"]
    day.arrive("new")
    assert day.wait_of("new") == []
