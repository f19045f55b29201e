"""Where a request came from, behind proxies."""

from __future__ import annotations

import pytest

from appliance.errors import ConfigError
from appliance.hub.people.addresses import origin, proxies_of

PROXIES = proxies_of(["10.0.0.1", "::1"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("10.0.0.9", "", "10.0.0.9"),
        ("10.0.0.9", "1.2.3.4", "10.0.0.9"),  # no proxy of ours: what it says of others is not believed
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "10.0.0.7", "10.0.0.7"),
        ("10.0.0.1", "6.6.6.6, 10.0.0.7", "10.0.0.7"),  # the first was written by the client
        ("10.0.0.1", "10.0.0.7, ::1", "10.0.0.7"),
        ("10.0.0.1", "6.6.6.6, unknown", "10.0.0.1"),
        ("10.0.0.1", "6.6.6.6, <script>", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.7", "10.0.0.7"),
        ("", "", ""),
    ],
)
def test_only_our_own_proxies_are_believed(peer: str, forwarded: str, address: str) -> None:
    assert origin(peer, forwarded, PROXIES) == address


def test_a_proxy_is_an_address() -> None:
    with pytest.raises(ConfigError, match=r"staff\.proxies"):
        proxies_of(["proxy.example"])
