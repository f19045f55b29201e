"""Which PINs are taken, and how they are kept."""

from __future__ import annotations

import pytest

from appliance.webui import pins


@pytest.mark.parametrize("pin", ["", "12345", "12345678901234567", "12345a", "١٢٣٤٥٦", "274918 ", "-27491", "274 918"])
def test_a_pin_is_six_to_sixteen_digits(pin: str) -> None:
    assert pins.weakness(pin) == "form"


@pytest.mark.parametrize("pin", ["000000", "999999", "121212", "123123", "110011", "12341234", "787878", "202020"])
def test_a_pin_that_repeats_is_refused(pin: str) -> None:
    assert pins.weakness(pin) == "repeats"


@pytest.mark.parametrize("pin", ["123456", "654321", "345678", "890123", "987654", "210987"])
def test_a_pin_that_counts_is_refused(pin: str) -> None:
    assert pins.weakness(pin) == "sequence"


@pytest.mark.parametrize("pin", ["112233", "147258", "159753", "102030"])
def test_a_pin_that_everybody_tries_is_refused(pin: str) -> None:
    assert pins.weakness(pin) == "common"


@pytest.mark.parametrize("pin", ["274918", "850362", "19584437", "100294"])
def test_other_pins_are_taken(pin: str) -> None:
    assert pins.weakness(pin) is None


def test_only_the_right_pin_matches_and_the_pin_is_nowhere_in_what_is_kept() -> None:
    kept = pins.hash_pin("274918")
    assert kept.startswith("$argon2id$")
    assert "274918" not in kept
    assert pins.matches(kept, "274918")
    assert not pins.matches(kept, "274919")
    assert not pins.matches(kept, "")
    assert pins.hash_pin("274918") != kept


def test_nobody_has_a_pin() -> None:
    assert not pins.matches(None, "274918")
    assert not pins.matches(None, "no PIN: the right answer takes as long as the wrong one")
    assert not pins.matches("not a hash", "274918")
