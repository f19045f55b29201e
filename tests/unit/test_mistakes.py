"""A mistake of ours is logged by its place, never by the data it met."""

from __future__ import annotations

from appliance.hub.index.parcels import find
from appliance.mistakes import where


def test_the_place_is_the_last_line_of_ours_and_nothing_else():
    try:
        find(None, "Zebrafink", "Zebrafink")  # type: ignore[arg-type]
    except AttributeError as error:
        place = where(error)
    name, _, line = place.partition(":")
    assert name == "parcels.py"
    assert line.isdigit()


def test_an_error_that_was_never_raised_has_no_place():
    assert where(ValueError("Zebrafink")) == ""
