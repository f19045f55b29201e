"""Nothing of a study, and no question for a name, leaves by another way than the tunnel (DESIGN invariant 4).

The kernel of the site counts what leaves by each of its other devices. The way around the tunnel is open all the while:
any other program would take it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.processes import wait_for
from support.sending_unit import SendingUnit, noise
from support.tunnel_rig import FIBRE, HUB, NAME, PORT, SIM, Rig, tunnel_rig

from appliance.config import UnitConfig

pytestmark = pytest.mark.needs_root

COUNTERS = f"""table ip leaks {{
    counter tunnel {{ }}
    counter names {{ }}
    counter other {{ }}
    chain out {{
        type filter hook output priority 0;
        oifname != {{ "{FIBRE}", "{SIM}" }} return;
        udp dport {PORT} counter name tunnel return;
        udp dport 53 counter name names return;
        counter name other;
    }}
}}"""


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """With a way to the hub's tunnel address that is not the tunnel."""
    with tunnel_rig(tmp_path / "unit") as built:
        built.net.ip("route", "add", f"{HUB}/32", "via", "10.91.9.2")
        built.site.run("nft", "-f", "-", given=COUNTERS)
        yield built


def leaked(rig: Rig) -> dict[str, int]:
    """Packets that left by the uplinks themselves, by kind."""
    listed = json.loads(rig.site.run("nft", "-j", "list", "counters"))["nftables"]
    return {entry["counter"]["name"]: entry["counter"]["packets"] for entry in listed if "counter" in entry}


def way_around_is_open(rig: Rig) -> bool:
    """Another program reaches the hub without the tunnel."""
    program = f"import socket; socket.create_connection(({HUB!r}, 8090), 2).close()"
    with rig.site.start("python3", "-c", program) as process:
        return process.wait(10) == 0


def unit_of(rig: Rig, secret: str) -> tuple[SendingUnit, UnitConfig]:
    unit = SendingUnit(rig.data, f"http://{HUB}:8090", secret)
    quick = {"stall_seconds": 2.0, "connect_seconds": 1.0, "retry_seconds_max": 0.5}
    return unit, rig.config(hub={"secret_file": str(unit.secret_file), **quick})


def test_with_the_tunnel_down_and_another_way_open_not_one_packet_of_the_unit_leaves(rig: Rig) -> None:
    with rig.hub_process() as secret:
        unit, config = unit_of(rig, secret)
        unit.add_parcel(1, [noise(1, 1, 50_000)], plain=True)
        with rig.process("tunnel", config), rig.process("forward", config):
            unit.await_delivered()
            before = leaked(rig)
            assert before["other"] == 0, "while it was up, all went by the tunnel"
            rig.site.ip("link", "set", rig.interface, "down")
            assert way_around_is_open(rig), "or this test shows nothing"
            counted = leaked(rig)
            assert counted["other"] > before["other"], "the kernel counts"
            unit.add_parcel(2, [noise(2, 1, 50_000)], plain=True)
            unit.await_value("E501", "SELECT problem FROM link")
            time.sleep(2.0)  # several tries of `forward`, and turns of `tunnel`
            assert leaked(rig)["other"] == counted["other"], "none of it took the other way"
            rig.site.ip("link", "set", rig.interface, "up")
            unit.await_delivered()
            assert leaked(rig)["other"] == counted["other"]
        assert {name for _, name in rig.asked()} == {NAME}, "the one name that is asked for is the hub's own"


def test_forward_asks_for_no_name_and_sends_nothing_when_the_interface_is_gone(rig: Rig) -> None:
    with rig.hub_process() as secret:
        unit, config = unit_of(rig, secret)
        unit.add_parcel(1, [noise(1, 1, 50_000)], plain=True)
        rig.site.ip("link", "delete", rig.interface)
        assert way_around_is_open(rig)
        before = leaked(rig)
        with rig.process("forward", config):
            unit.await_value("E501", "SELECT problem FROM link")
            time.sleep(1.0)
        assert leaked(rig) == before


def test_the_hubs_name_is_never_asked_for_through_the_tunnel(rig: Rig) -> None:
    """The name server is behind the tunnel, and nowhere else: it is not asked."""
    rig.site.ip("route", "add", "10.91.8.8/32", "dev", rig.interface)
    with rig.process("tunnel", rig.config()):
        wait_for(lambda: ("look-up", "failed") in rig.events(), "the look-up failed")
    assert rig.asked() == []
    log = (rig.data / "tunnel.log").read_text()
    assert "can't be reached outside of the tunnel" in log


def test_the_hub_answers_at_its_tunnel_address_alone(rig: Rig) -> None:
    with rig.hub_process():
        listening = rig.hub.run("ss", "-Hltn").split()
        assert [word for word in listening if word.endswith(":8090")] == [f"{HUB}:8090"]
