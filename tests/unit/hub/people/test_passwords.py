"""Which passwords are taken, how good ones are made, and how they are kept."""

from __future__ import annotations

import argon2
import pytest
from support.staff import PASSWORD, hashed

from appliance import argon
from appliance.hub.people.passwords import matches, new_password, weakness


@pytest.mark.parametrize(
    ("password", "problem"),
    [
        ("short-one-1", "length"),
        ("x" * 129, "length"),
        ("aaaabbbbcccc", "repeats"),
        ("111222333444", "repeats"),
        ("esther.banda", "name"),
        ("EstherBanda1", "name"),
        ("password1234", "common"),
        ("Password!Qwerty1", "common"),
    ],
)
def test_a_password_that_is_easy_to_guess_is_refused(password: str, problem: str) -> None:
    name = "Esther.Banda" if "." in password else "Esther Banda"
    assert weakness(password, name) == problem


@pytest.mark.parametrize("password", [PASSWORD, "hippo in the lake", "Chambo ndi nsima!", "пароль для Марии"])
def test_other_passwords_are_taken(password: str) -> None:
    assert weakness(password, "Esther") is None


def test_a_password_that_is_made_may_be_used_and_is_new_each_time() -> None:
    made = {new_password() for _ in range(50)}
    assert len(made) == 50
    assert {weakness(password, "Esther") for password in made} == {None}
    assert {len(password) for password in made} == {19}


def test_only_the_right_password_matches_and_it_is_nowhere_in_what_is_kept() -> None:
    kept = hashed()
    assert kept.startswith("$argon2id$")
    assert PASSWORD not in kept
    assert matches(kept, PASSWORD)
    assert not matches(kept, PASSWORD + "x")
    assert not matches("broken", PASSWORD)


def test_accents_are_the_same_from_every_keyboard_and_nonsense_is_no_fault() -> None:
    kept = hashed("clé de la forêt 7")
    assert matches(kept, "cle\u0301 de la fore\u0302t 7")
    assert not matches(kept, "\ud800" * 200)


def test_nobody_matches_nothing_and_costs_as_much() -> None:
    """By the parameters of what is compared, not by a clock."""
    assert not matches(None, PASSWORD)
    assert not matches(None, "nobody")
    assert argon2.extract_parameters(argon._NOBODY) == argon2.extract_parameters(hashed())
