"""NAME:PORT and ADDRESS:PORT."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.provisional import domains as provisional_domains

from appliance.model.endpoint import join_endpoint, split_endpoint

PORTS = st.integers(1, 65535)


@given(st.ip_addresses(), PORTS)
def test_an_address_and_its_port_come_back(address: object, port: int) -> None:
    assert split_endpoint(join_endpoint(str(address), port)) == (str(address), port)


@given(provisional_domains(), PORTS)
def test_a_name_and_its_port_come_back(name: str, port: int) -> None:
    assert split_endpoint(f"{name}:{port}") == (name, port)


@given(st.text(max_size=30))
def test_any_text_is_split_or_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        host, port = split_endpoint(text)
        assert host
        assert 0 < port < 65536


@pytest.mark.parametrize(
    "text", ["hub", "hub:", ":51820", "hub:+1", "hub:٣", "a b:1", "fd00::1:80", "[x]:1", "1.2.3:4"]
)
def test_what_is_neither_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"must|no IP"):
        split_endpoint(text)
