"""Priorities and their words."""

from __future__ import annotations

import pytest

from appliance.model.priority import Priority


def test_stat_goes_before_urgent_before_routine_before_prior() -> None:
    assert sorted(Priority) == [Priority.STAT, Priority.URGENT, Priority.ROUTINE, Priority.PRIOR]


@pytest.mark.parametrize("priority", Priority)
def test_a_word_names_its_priority(priority: Priority) -> None:
    assert Priority.from_word(priority.word) is priority


def test_another_word_names_none() -> None:
    with pytest.raises(KeyError):
        Priority.from_word("asap")
