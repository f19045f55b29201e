"""Errors: each has an id of its own, a message, and what to do."""

from __future__ import annotations

import re

import pytest

from appliance import errors
from appliance.errors import ApplianceError

EVERY = errors.every_error()


def test_no_two_errors_share_an_id() -> None:
    assert len({kind.id for kind in EVERY}) == len(EVERY)


@pytest.mark.parametrize("kind", EVERY)
def test_an_error_has_an_id_a_sentence_and_an_exit_code(kind: type[ApplianceError]) -> None:
    assert re.fullmatch(r"E\d{3}", kind.id)
    assert kind.__doc__, kind
    assert kind.__doc__.strip().endswith(".")
    assert 1 <= kind.exit_code <= 9


def test_the_docstring_is_the_message_when_none_is_given() -> None:
    assert errors.DiskFullError().message == errors.DiskFullError.__doc__


def test_a_hint_may_be_nearer_to_the_case() -> None:
    error = errors.ConfigError("wrong", hint="Do this.")
    assert (error.message, error.hint) == ("wrong", "Do this.")
    assert errors.ConfigError.hint != "Do this."


def test_an_error_is_found_by_its_id() -> None:
    assert errors.error_of("E502") is errors.HubRefusedError
    assert errors.error_of("no such id") is ApplianceError
