"""Lines of the link bench: what they could carry, and when a packet arrives, follow from profile and seed alone."""

from __future__ import annotations

import random
from itertools import islice, pairwise

import pytest
from harness.emulator import Way
from harness.profiles import HEADERS, PROFILES, Loss, Profile, Spell, Timeline

KBIT = 8.0  # a byte a millisecond


def line(*spells: tuple[float, float], **values: float) -> Profile:
    return Profile("made", "by hand", lambda _: [Spell(*one) for one in spells], **{"round_trip": 0.0, **values})


def test_what_a_line_could_carry_leaves_its_outages_out() -> None:
    timeline = Timeline([Spell(10, KBIT), Spell(5, 0), Spell(10, 2 * KBIT)])
    assert [timeline.bits(at) / 8 for at in (0, 5, 10, 14, 15, 20)] == [0, 5_000, 10_000, 10_000, 10_000, 20_000]
    assert timeline.outages(14) == []
    assert timeline.outages(16) == [(10, 15)]


def test_the_moment_of_a_bit_is_the_inverse_of_what_was_carried() -> None:
    for profile in PROFILES.values():
        timeline = profile.timeline(seed=3)
        for at in (0.5, 7.0, 33.3, 260.0):
            bits = timeline.bits(at)
            assert timeline.bits(timeline.when(bits)) == pytest.approx(bits)
            assert timeline.when(bits) <= at + 1e-9


def test_what_comes_after_the_end_of_a_line_that_is_gone_never_arrives() -> None:
    timeline = Timeline([Spell(1, KBIT), Spell(1, 0)])
    assert timeline.when(8_000) == 1
    assert timeline.when(8_001) == float("inf")


def test_a_line_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    profile = PROFILES["3g-bursty"]
    spells = [list(islice(profile.spells(random.Random(seed)), 20)) for seed in (1, 1, 2)]
    assert spells[0] == spells[1] != spells[2]


@pytest.mark.parametrize("burst", [1.0, 4.0])
def test_loss_takes_its_share_in_bursts_of_its_length(burst: float) -> None:
    loss = Loss(0.05, burst, random.Random(1))
    taken = [loss.takes() for _ in range(200_000)]
    begun = sum(now and not before for before, now in pairwise(taken))
    assert sum(taken) / len(taken) == pytest.approx(0.05, rel=0.1)
    assert sum(taken) / begun == pytest.approx(burst if burst > 1 else 1.05, rel=0.1)


def test_packets_wait_for_each_other_and_then_for_the_way() -> None:
    way = Way(line((60, KBIT), round_trip=0.4), seed=1, name="up")
    size = 1000 - HEADERS
    assert [way.admit(0.0, size) for _ in range(2)] == [pytest.approx(1.2), pytest.approx(2.2)]
    assert way.admit(10.0, size) == pytest.approx(11.2)
    assert (way.counts.packets, way.counts.carried) == (3, 3000)


def test_a_full_queue_drops_what_comes_and_keeps_what_waits() -> None:
    way = Way(line((60, KBIT), queue=2.0), seed=1, name="up")
    arrivals = [way.admit(0.0, 1000 - HEADERS) for _ in range(5)]
    assert arrivals == [1.0, 2.0, 3.0, None, None]
    assert way.counts.full == 2


def test_what_waits_or_is_in_the_air_when_the_line_is_cut_is_gone() -> None:
    way = Way(line((10, KBIT), (5, 0), (60, KBIT), round_trip=1.0), seed=1, name="up")
    size = 1000 - HEADERS
    assert way.admit(8.0, size) == 9.5
    assert way.admit(8.9, size) is None  # sent at 10.0, and in the air until 10.5
    assert way.admit(12.0, size) is None
    assert way.admit(15.0, size) == 16.5
    assert way.counts.cut == 2


def test_jitter_never_turns_the_order_round() -> None:
    way = Way(line((60, 1000.0), round_trip=0.1, jitter=0.5), seed=1, name="up")
    arrivals = [way.admit(at / 100, 100) for at in range(100)]
    assert arrivals == sorted(arrivals)
