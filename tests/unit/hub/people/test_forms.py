"""Forms: read within ceilings, and only from pages of ours."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.hub.people.forms import FIELD, form_token, is_ours, parse

KIND = "application/x-www-form-urlencoded"


def test_a_form_from_a_page_of_ours_is_known() -> None:
    assert is_ours({FIELD: form_token("cookie")}, "cookie", "same-origin")
    assert is_ours({FIELD: form_token("cookie")}, "cookie", "")  # a browser that does not say where from


@pytest.mark.parametrize(
    ("form", "cookie", "fetch_site"),
    [
        ({}, "cookie", "same-origin"),
        ({FIELD: ""}, "cookie", "same-origin"),
        ({FIELD: form_token("other")}, "cookie", "same-origin"),
        ({FIELD: form_token("cookie")}, "cookie", "cross-site"),
        ({FIELD: form_token("cookie")}, "cookie", "same-site"),
        ({FIELD: form_token("")}, "", "same-origin"),
        ({FIELD: "\ud800é"}, "cookie", "same-origin"),
    ],
)
def test_every_other_form_is_not(form: dict[str, str], cookie: str, fetch_site: str) -> None:
    assert not is_ours(form, cookie, fetch_site)


def test_fields_are_decoded_and_empty_ones_are_there() -> None:
    assert parse(b"name=Zo%C3%AB+K&password=", KIND) == {"name": "Zoë K", "password": ""}


def test_what_is_no_form_or_has_too_many_fields_is_refused() -> None:
    with pytest.raises(ValueError, match="no form"):
        parse(b"a=1", "application/json")
    with pytest.raises(ValueError, match="fields"):
        parse(b"&".join(b"a=1" for _ in range(40)), KIND)


@given(st.binary(max_size=200))
def test_no_body_breaks_it(body: bytes) -> None:
    with contextlib.suppress(ValueError):  # too many fields
        assert all(isinstance(value, str) for value in parse(body, KIND).values())
