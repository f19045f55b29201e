"""The tunnel goes down and another route to the hub is open: the unit does not use it (DESIGN invariant 4)."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.hub import add_site, hub_config
from support.processes import wait_for, write_hub
from support.sending_unit import SendingUnit, noise

TUNNEL, OTHER, ROOM = "atun0", "aeth0", "appliance-test-hub"
HUB, PORT = "10.231.7.2", 8090


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def in_room(*words: str) -> None:
    ip("netns", "exec", ROOM, "ip", *words)


@pytest.fixture
def two_ways() -> Iterator[None]:
    """A room of the network for the hub, with two cables to it. The first stands for the tunnel."""
    ip("netns", "add", ROOM)
    try:
        for near, far, network in ((TUNNEL, "atun1", "10.231.7"), (OTHER, "aeth1", "10.231.8")):
            ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", ROOM)
            ip("address", "add", f"{network}.1/24", "dev", near)
            ip("link", "set", near, "up")
            in_room("address", "add", f"{network}.2/24", "dev", far)
            in_room("link", "set", far, "up")
        in_room("link", "set", "lo", "up")
        yield
    finally:
        for near in (TUNNEL, OTHER):
            with contextlib.suppress(subprocess.CalledProcessError):
                ip("link", "delete", near)
        ip("netns", "delete", ROOM)


def reaches_hub() -> bool:
    with contextlib.suppress(OSError), socket.create_connection((HUB, PORT), 1.0):
        return True
    return False


@pytest.mark.needs_root
@pytest.mark.usefixtures("two_ways")
def test_with_the_tunnel_down_another_route_to_the_hub_is_not_taken(tmp_path: Path) -> None:
    secret = add_site(hub_config(tmp_path / "hub"))
    file = write_hub(tmp_path / "hub.toml", tmp_path / "hub", PORT, hub__bind=HUB)
    command = ["ip", "netns", "exec", ROOM, sys.executable, "-m", "appliance.cli", "--config", str(file), "hub", "run"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as hub:
        wait_for(reaches_hub, "the hub listens")
        uplink = {"interface": TUNNEL, "stall_seconds": 1.5, "connect_seconds": 1.0, "retry_seconds_max": 0.5}
        unit = SendingUnit(tmp_path / "unit", f"http://{HUB}:{PORT}", secret, uplink)
        unit.add_parcel(1, [noise(1, 1, 50_000)], plain=True)
        with unit.forward():
            unit.await_delivered()
            ip("link", "set", TUNNEL, "down")
            ip("route", "add", f"{HUB}/32", "via", "10.231.8.2", "dev", OTHER)
            assert reaches_hub(), "the other route is open, and any other program would take it"
            unit.add_parcel(2, [noise(2, 1, 50_000)], plain=True)
            unit.await_value("E501", "SELECT problem FROM link")
            time.sleep(1.0)
            assert unit.value("SELECT count(*) FROM parcel WHERE state = 'built'") == 1
            ip("route", "delete", f"{HUB}/32", "via", "10.231.8.2", "dev", OTHER)
            ip("link", "set", TUNNEL, "up")
            unit.await_delivered()
        hub.terminate()
