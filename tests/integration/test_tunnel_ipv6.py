"""The tunnel's endpoint by IPv6: as an address, and by a name that has one, when no way leads to the other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.tunnel_rig import FIBRE, PORT, Rig, tunnel_rig

pytestmark = pytest.mark.needs_root
HUB = "2001:db8:9::2"


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """Between site and hub a way of IPv6 beside that of IPv4."""
    with tunnel_rig(tmp_path / "unit") as built:
        for room, address, device in (
            (built.site, "2001:db8:1::2/64", FIBRE),
            (built.net, "2001:db8:1::1/64", f"n{FIBRE}"),
            (built.net, "2001:db8:9::1/64", "nhub"),
            (built.hub, f"{HUB}/64", "out"),
        ):
            for key, value in (("all/disable_ipv6", "0"), (f"{device}/disable_ipv6", "0"), ("all/forwarding", "1")):
                room.run("tee", f"/proc/sys/net/ipv6/conf/{key}", given=value)
            room.ip("address", "add", address, "dev", device, "nodad")
        built.site.ip("-6", "route", "add", "default", "via", "2001:db8:1::1", "dev", FIBRE)
        built.hub.ip("-6", "route", "add", "default", "via", "2001:db8:9::1")
        yield built


def test_an_endpoint_that_is_an_address_of_ipv6_works_however_it_is_written(rig: Rig) -> None:
    with rig.process("tunnel", rig.config(endpoint=f"[2001:DB8:9:0::2]:{PORT}")), rig.chatter():
        assert rig.await_state("up").endpoint == f"[{HUB}]:{PORT}"
    assert rig.asked() == []


def test_a_name_that_has_only_an_address_of_ipv6_works(rig: Rig) -> None:
    rig.say_address(HUB)
    with rig.process("tunnel", rig.config()), rig.chatter():
        assert rig.await_state("up").endpoint == f"[{HUB}]:{PORT}"


def test_of_two_addresses_that_one_is_taken_to_which_a_way_leads(rig: Rig) -> None:
    rig.say_address(f"10.91.9.2 {HUB}")
    rig.site.ip("route", "add", "unreachable", "10.91.9.0/24")
    with rig.process("tunnel", rig.config()), rig.chatter():
        assert rig.await_state("up").endpoint == f"[{HUB}]:{PORT}"
