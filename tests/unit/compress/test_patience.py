"""How much time a parcel has in all."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from appliance.compress.patience import Patience, parcel_seconds
from appliance.config import Compress

MIB = 1 << 20
SIZES = st.integers(1, 1 << 44)
LIMITS = Compress()


@given(SIZES, SIZES)
def test_a_larger_parcel_has_more_time_and_two_parcels_more_than_one_that_is_as_large_as_both(one: int, other: int):
    together = parcel_seconds(1.0, one + other)
    assert max(parcel_seconds(1.0, one), parcel_seconds(1.0, other)) <= together
    assert together <= parcel_seconds(1.0, one) + parcel_seconds(1.0, other)


@given(SIZES)
def test_a_parcel_always_has_the_time_that_one_instance_may_take(size: int):
    assert parcel_seconds(LIMITS.wall_seconds, size) > LIMITS.wall_seconds


def test_what_a_parcel_may_cost_does_not_grow_with_what_it_claims_to_hold():
    """A usual parcel; before, 4096 instances in it could take 300 seconds each."""
    assert parcel_seconds(LIMITS.wall_seconds, LIMITS.parcel_bytes) < 310


@given(SIZES, st.floats(0, 1e9))
def test_the_time_of_a_parcel_runs_from_its_beginning(size: int, now: float):
    patience = Patience(1.0, 2.0).for_parcel(size, now)
    assert not patience.is_over(now)
    assert not Patience(1.0, 2.0).is_over(now + 1e9)
    assert patience.is_over(now + parcel_seconds(2.0, size))
