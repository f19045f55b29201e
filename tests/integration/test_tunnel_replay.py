"""A handshake that somebody recorded on the way, and sends again, opens nothing and moves nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.tunnel_rig import PORT, Rig, tunnel_rig

pytestmark = pytest.mark.needs_root

# Prints the first handshake initiation (148 bytes, type 1) to the hub that passes, in hex.
_LISTEN = """
import socket, sys
with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800)) as tap:
    print("ready", flush=True)
    while True:
        packet = tap.recv(2048)
        begin = (packet[0] & 15) * 4
        said = packet[begin + 8:]
        to = int.from_bytes(packet[begin + 2:begin + 4], "big")
        if packet[9] == 17 and to == int(sys.argv[1]) and len(said) == 148 and said[0] == 1:
            print(said.hex(), flush=True)
            break
"""
# Sends it again from here, thrice, and prints how many answers came within two seconds.
_REPLAY = """
import socket, sys, time
with socket.socket(type=socket.SOCK_DGRAM) as sock:
    for _ in range(3):
        sock.sendto(bytes.fromhex(sys.argv[3]), (sys.argv[1], int(sys.argv[2])))
    until, count = time.monotonic() + 2, 0
    while (left := until - time.monotonic()) > 0:
        sock.settimeout(left)
        try:
            sock.recv(2048)
            count += 1
        except TimeoutError:
            break
print(count)
"""


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with tunnel_rig(tmp_path / "unit") as built:
        yield built


def replay(rig: Rig, packet: str) -> int:
    """How many answers a stranger gets who sends `packet` (hex) to the hub."""
    return int(rig.net.run(sys.executable, "-c", _REPLAY, "10.91.9.2", str(PORT), packet))


def seen(rig: Rig, what: str) -> str:
    """What the hub's WireGuard knows of the site: `endpoints` or `latest-handshakes`."""
    return rig.hub.run("wg", "show", rig.hub_interface, what)


def test_a_replayed_handshake_gets_no_answer_and_the_tunnel_stays_where_it_is(rig: Rig) -> None:
    with rig.net.start(sys.executable, "-c", _LISTEN, str(PORT), stdout=subprocess.PIPE, text=True) as listener:
        assert listener.stdout is not None
        assert listener.stdout.readline() == "ready\n"
        with rig.process("tunnel", rig.config()), rig.chatter():
            rig.await_state("up")
            packet = listener.stdout.readline().strip()
            endpoint, handshake = seen(rig, "endpoints"), seen(rig, "latest-handshakes")
            assert "10.91.1.2" in endpoint
            assert replay(rig, packet) == 0
            assert seen(rig, "endpoints") == endpoint
            assert seen(rig, "latest-handshakes") == handshake
            assert rig.facts().state == "up"


def test_the_same_handshake_is_answered_by_a_hub_that_never_saw_it(rig: Rig) -> None:
    """So the other test can fail: what it sends is a whole handshake, and reaches the hub."""
    with rig.net.start(sys.executable, "-c", _LISTEN, str(PORT), stdout=subprocess.PIPE, text=True) as listener:
        assert listener.stdout is not None
        assert listener.stdout.readline() == "ready\n"
        rules = "table ip lost { chain in { type filter hook postrouting priority 0; oifname nhub drop; }; }"
        rig.net.run("nft", rules)
        with rig.process("tunnel", rig.config()), rig.chatter():
            packet = listener.stdout.readline().strip()
        assert seen(rig, "latest-handshakes").split()[1] == "0"
        rig.net.run("nft", "delete table ip lost")
        assert replay(rig, packet) > 0
