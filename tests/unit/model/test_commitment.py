"""When an instance is safe, and when to tell again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.model.commitment import Copy, Failure, Level, judge, look_pause_ms, pause_ms
from appliance.model.states import InstanceState

CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
AT_HUB = (InstanceState.DELIVERED, InstanceState.REMOVED)


@pytest.mark.parametrize("state", InstanceState)
def test_every_state_is_safe_in_the_box_and_only_a_receipt_makes_it_safe_at_the_hub(state: InstanceState) -> None:
    assert judge(Level.BOX, CT, [Copy(CT, state)]) is Failure.NONE
    assert judge(Level.HUB, CT, [Copy(CT, state)]) is (Failure.NONE if state in AT_HUB else None)


@pytest.mark.parametrize("level", Level)
def test_what_is_not_here_of_another_class_or_damaged_fails_at_either_level(level: Level) -> None:
    assert judge(level, CT, []) is Failure.NO_SUCH_OBJECT
    assert judge(level, CT, [Copy(MR, InstanceState.DELIVERED)]) is Failure.CLASS_INSTANCE_CONFLICT
    assert judge(level, CT, [Copy(CT, InstanceState.QUARANTINED, damaged=True)]) is Failure.PROCESSING


def test_of_two_versions_under_one_uid_both_must_be_at_the_hub() -> None:
    safe, waiting = Copy(CT, InstanceState.DELIVERED), Copy(CT, InstanceState.PACKED)
    assert judge(Level.HUB, CT, [safe, waiting]) is None
    assert judge(Level.HUB, CT, [safe, safe]) is Failure.NONE


@given(st.integers(0, 10_000))
def test_pauses_grow_to_ten_minutes_and_never_end(tries: int) -> None:
    assert 5_000 <= pause_ms(tries) <= pause_ms(tries + 1) <= 600_000


@given(st.integers(0, 1 << 50))
def test_a_request_is_looked_at_each_minute_at_least(age: int) -> None:
    assert 1_000 <= look_pause_ms(age) <= look_pause_ms(age + 1) <= 60_000
