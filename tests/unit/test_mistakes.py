"""A mistake of ours is logged by its kind and its place, never by the data it met."""

from __future__ import annotations

import pytest

from appliance.config import load_unit
from appliance.errors import ConfigError, error_of
from appliance.hub.index.parcels import find
from appliance.mistakes import kinds, trail, where


def caught(kind: type[BaseException] = AttributeError) -> BaseException:
    with pytest.raises(kind) as raised:
        find(None, "Zebrafink", "Zebrafink")  # type: ignore[arg-type]
    return raised.value


def test_the_place_is_the_last_line_of_ours_and_nothing_else():
    name, _, line = where(caught()).partition(":")
    assert name == "parcels.py"
    assert line.isdigit()


def test_an_error_that_was_never_raised_has_no_place():
    assert where(ValueError("Zebrafink")) == trail(ValueError("Zebrafink")) == ""


def test_an_error_outside_of_our_code_has_the_place_of_a_library():
    with pytest.raises(ZeroDivisionError) as raised:
        1 / 0  # noqa: B018
    assert where(raised.value).startswith("test_mistakes.py:")


def test_the_chain_is_told_by_kind_and_the_way_from_its_first_cause():
    last = RuntimeError("Quokka")
    last.__cause__ = ExceptionGroup("Wombatfraktur", [caught(), ValueError("Zebrafink")])
    assert kinds(last) == "RuntimeError from ExceptionGroup from AttributeError"
    assert trail(last).startswith("parcels.py:")


def test_the_way_names_each_of_our_places(tmp_path):
    with pytest.raises(ConfigError) as raised:
        load_unit(tmp_path / "Zebrafink")
    places = trail(raised.value).split(" < ")
    assert len(places) > 1
    assert {place.partition(":")[0] for place in places} == {"config.py"}


def test_a_chain_that_bites_its_tail_ends():
    first, second = ValueError(), KeyError()
    first.__cause__, second.__cause__ = second, first
    assert kinds(first) == "ValueError from KeyError"


def test_a_directory_named_like_the_package_is_not_ours(tmp_path):
    """As /opt/appliance is, where a unit has all its libraries."""
    library = compile("def fail(): error_of(1, 2)", str(tmp_path / "appliance" / "lib" / "library.py"), "exec")
    names: dict[str, object] = {"error_of": error_of}
    exec(library, names)
    with pytest.raises(TypeError) as raised:
        names["fail"]()  # type: ignore[operator]
    assert where(raised.value).startswith("library.py:")  # no frame is ours, and so it is the last
