"""A hub in a namespace of its own, behind a cable that carries little: both ends are shaped, with a deep queue.

The cable stands for the tunnel: the unit's sockets are bound to `DEVICE`. Needs root. A second one waits for the first.
"""

from __future__ import annotations

import contextlib
import fcntl
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from support.hub import add_site, hub_config
from support.processes import wait_for, write_hub

DEVICE: Final = "anar0"
ADDRESS, PORT = "10.231.9.2", 8090
ROOM: Final = "appliance-test-narrow"
_FAR: Final = "anar1"
_ETH_P_ALL, _ETH_P_IP = 3, 0x0800
_ETHERNET: Final = 14  # bytes of its header


def _run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == 0, f"{words}: {done.stderr}"


class Packet(NamedTuple):
    """One on the cable: when (monotonic), which way, and its bytes from IP on."""

    at: float
    leaves: bool
    data: bytes

    @property
    def port(self) -> int:
        """The unit's; each connection has its own."""
        at = 20 if self.leaves else 22
        return int.from_bytes(self.data[at : at + 2], "big")


@dataclass
class Narrow:
    """`secret`: of the site, at the hub."""

    secret: str
    url: str = f"http://{ADDRESS}:{PORT}"
    packets: list[Packet] = field(default_factory=list)

    def shape(self, kbit: int) -> None:
        """From now on no more gets through, either way."""
        shape = ["tbf", "rate", f"{kbit}kbit", "burst", "1600", "limit", "300000"]
        _run("tc", "qdisc", "replace", "dev", DEVICE, "root", *shape)
        _run("ip", "netns", "exec", ROOM, "tc", "qdisc", "replace", "dev", _FAR, "root", *shape)

    @contextlib.contextmanager
    def cut(self) -> Iterator[None]:
        """Meanwhile nothing gets through, either way, and nobody is told."""
        rules = "table inet cut { chain in { type filter hook input priority 0; drop; }; }"
        _run("ip", "netns", "exec", ROOM, "nft", rules)
        try:
            yield
        finally:
            _run("ip", "netns", "exec", ROOM, "nft", "delete table inet cut")

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Keeps every packet of IP on the cable, with the time at which it leaves its end."""
        stop = threading.Event()
        tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
        tap.bind((DEVICE, 0))
        tap.settimeout(0.1)

        def keep() -> None:
            while not stop.is_set():
                with contextlib.suppress(TimeoutError):
                    data, address = tap.recvfrom(65535)
                    leaves = address[2] == socket.PACKET_OUTGOING
                    if address[1] == _ETH_P_IP:
                        self.packets.append(Packet(time.monotonic(), leaves, data[_ETHERNET:]))

        thread = threading.Thread(target=keep)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            tap.close()

    def seen(self, text: bytes, since: float, *, leaves: bool = True) -> float | None:
        """When the first packet with these bytes in it left, or came, after `since` (monotonic); None: none did."""
        found = (p.at for p in list(self.packets) if p.leaves is leaves and p.at >= since and text in p.data)
        return next(found, None)


@contextlib.contextmanager
def narrow_line(directory: Path) -> Iterator[Narrow]:
    """The cable, and the hub at its other end."""
    with (Path(tempfile.gettempdir()) / f"{ROOM}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests of other files run beside, in processes of their own
        with _laid(directory) as narrow:
            yield narrow


@contextlib.contextmanager
def _laid(directory: Path) -> Iterator[Narrow]:
    with contextlib.suppress(AssertionError):
        _run("ip", "netns", "delete", ROOM)
    _run("ip", "netns", "add", ROOM)
    try:
        _run("ip", "link", "add", DEVICE, "type", "veth", "peer", "name", _FAR, "netns", ROOM)
        _run("ip", "address", "add", "10.231.9.1/24", "dev", DEVICE)
        _run("ip", "link", "set", DEVICE, "up")
        for words in (
            ("address", "add", f"{ADDRESS}/24", "dev", _FAR),
            ("link", "set", _FAR, "up"),
            ("link", "set", "lo", "up"),
        ):
            _run("ip", "-n", ROOM, *words)
        secret = add_site(hub_config(directory / "hub"))
        file = write_hub(directory / "hub.toml", directory / "hub", PORT, hub__bind=ADDRESS)
        command = [sys.executable, "-m", "appliance.cli", "--config", str(file), "hub", "run"]
        log = directory / "hub.log"
        with (
            log.open("wb") as out,
            subprocess.Popen(["ip", "netns", "exec", ROOM, *command], stdout=out, stderr=out) as hub,
        ):
            try:
                wait_for(_reaches_hub, "the hub listens")
                yield Narrow(secret)
            finally:
                hub.terminate()
    finally:
        with contextlib.suppress(AssertionError):
            _run("ip", "link", "delete", DEVICE)
        _run("ip", "netns", "delete", ROOM)


def _reaches_hub() -> bool:
    with contextlib.suppress(OSError), socket.create_connection((ADDRESS, PORT), 1.0):
        return True
    return False
