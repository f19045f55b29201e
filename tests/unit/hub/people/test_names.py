"""Names that people log in with."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.hub.people.names import clean_name, name_digest, name_key


@pytest.mark.parametrize("name", ["Mary", "m.o'neill", "Zoë K.", "mary@hub", "李 明", "  Mary   Jane "])
def test_a_name_has_letters_digits_and_a_few_signs(name: str) -> None:
    assert clean_name(name) == " ".join(name.split())


@pytest.mark.parametrize("name", ["", " ", "_x", "a\x00b", "a\nb:", "<b>", "a" * 41, "a/b", "a\u202eb", "\ud800"])
def test_anything_else_is_no_name(name: str) -> None:
    assert clean_name(name) is None


@pytest.mark.parametrize(("one", "other"), [("Zoë", "ZOE\u0308"), ("Mary  Jane", " mary jane"), ("STRAẞE", "strasse")])
def test_a_name_is_the_same_however_it_is_typed(one: str, other: str) -> None:
    assert name_key(one) == name_key(other)
    assert name_digest(one) == name_digest(other)


@given(st.text())
def test_whatever_is_typed_as_a_name_can_be_looked_up(text: str) -> None:
    assert len(name_key(text)) <= 160
    assert len(name_digest(text + "\ud800")) == 32
