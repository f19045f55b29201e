"""Where a request came from, when proxies stand before the hub. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Sequence

from appliance.errors import ConfigError


def proxies_of(values: Sequence[str]) -> frozenset[str]:
    """The addresses of `staff.proxies` in one form. Raises ConfigError."""
    found = frozenset(plain(value) for value in values)
    if "" in found:
        raise ConfigError("staff.proxies: not every one is an IP address", hint="Give the addresses of your proxies.")
    return found


def plain(text: str) -> str:
    """An address in its one form, IPv4 in IPv6 as IPv4; empty when it is none."""
    try:
        address = ipaddress.ip_address(text.strip())
    except ValueError:
        return ""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def origin(peer: str, forwarded: str, proxies: Collection[str]) -> str:
    """Who asks: the peer, or, when that is a proxy of ours, the last in X-Forwarded-For that is none.

    What stands before that was written by the client itself, and is not believed.
    """
    address = plain(peer)
    for said in reversed(forwarded.split(",")[-16:]):
        if address not in proxies:
            break
        address = plain(said) or address
        if not plain(said):
            break
    return address
