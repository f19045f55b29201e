"""A site, an internet and a hub as namespaces of the network, with a real WireGuard tunnel between them.

                  10.91.1.0/24 (fibre)
    site  ═══════════════════════════  net  ───────────  hub     WireGuard at 10.91.9.2, 10.91.9.3
          ═══════════════════════════       10.91.9.0/24         tunnel 10.99.0.2 ↔ 10.99.0.1
                  10.91.2.0/24 (sim)

`net` routes, and serves the name of the hub at 10.91.8.8. wireguard-go stands for the kernel's WireGuard; `wg` talks to
both alike. Needs root. Names carry the number of the test's process, so that two rigs may stand at once.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from support.hub import add_site, hub_config
from support.processes import wait_for, write_hub

from appliance.clock import now_ms
from appliance.config import Link, LinkUplink, Storage, Tunnel, UnitConfig, Uplink
from appliance.config import Site as SiteSection
from appliance.store_forward.database import open_database
from appliance.store_forward.tunnel_rows import read_events, read_facts

PORT: Final = 51820
NAME: Final = "hub.example.org"
HUB: Final = "10.99.0.1"
RESOLVER: Final = "10.91.8.8"
FIBRE, SIM = "fibre", "sim"
_NETWORKS: Final = {FIBRE: "10.91.1", SIM: "10.91.2"}
_ROOMS: Final = ("site", "net", "hub")
_WIREGUARD: Final = {**os.environ, "WG_I_PREFER_BUGGY_USERSPACE_TO_POLISHED_KMOD": "1", "LOG_LEVEL": "error"}


def call(*words: str, given: str | None = None) -> str:
    """What a command printed; its errors are those of the test."""
    done = subprocess.run(words, input=given, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return done.stdout


@dataclass
class Room:
    """A namespace."""

    name: str

    def ip(self, *words: str) -> str:
        return call("ip", "-n", self.name, *words)

    def tc(self, *words: str) -> str:
        return call("tc", "-n", self.name, *words)

    def run(self, *words: str, given: str | None = None) -> str:
        return call("ip", "netns", "exec", self.name, *words, given=given)

    def start(self, *words: str, **options: Any) -> subprocess.Popen[bytes]:
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen(["ip", "netns", "exec", self.name, *words], **(quiet | options))


@dataclass
class Rig:
    """`data`: of the unit."""

    data: Path
    keys: dict[str, str] = field(default_factory=dict)  # private
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def __post_init__(self) -> None:
        number = os.getpid()
        self.site, self.net, self.hub = (Room(f"appliance-{name}-{number}") for name in _ROOMS)
        self.interface, self.hub_interface = f"wgs{number}", f"wgh{number}"

    # ------------------------------------------------------------ the wires

    def build(self) -> None:
        for room in (self.site, self.net, self.hub):
            call("ip", "netns", "add", room.name)
            self._stack.callback(call, "ip", "netns", "delete", room.name)
            for key in ("ipv6/conf/all/disable_ipv6", "ipv4/ip_forward"):
                room.run("tee", f"/proc/sys/net/{key}", given="1")
            room.ip("link", "set", "lo", "up")
        for metric, (name, network) in enumerate(_NETWORKS.items()):
            self._cable(self.site, name, f"{network}.2/24", self.net, f"n{name}", f"{network}.1/24")
            self.site.ip("route", "add", "default", "via", f"{network}.1", "dev", name, "metric", str(100 + metric))
        self._cable(self.net, "nhub", "10.91.9.1/24", self.hub, "out", "10.91.9.2/24")
        self.hub.ip("address", "add", "10.91.9.3/24", "dev", "out")
        self.hub.ip("route", "add", "default", "via", "10.91.9.1")
        self.net.ip("address", "add", f"{RESOLVER}/32", "dev", "lo")
        self.say_address("10.91.9.2")
        self._keep(
            self.net.start(sys.executable, str(Path(__file__).with_name("tiny_dns.py")), RESOLVER, *map(str, self._dns))
        )

    def _cable(self, near: Room, near_name: str, near_address: str, far: Room, far_name: str, far_address: str) -> None:
        near.ip("link", "add", near_name, "type", "veth", "peer", "name", far_name, "netns", far.name)
        for room, name, address in ((near, near_name, near_address), (far, far_name, far_address)):
            room.ip("address", "add", address, "dev", name)
            room.ip("link", "set", name, "up")

    def _keep(self, process: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
        self._stack.callback(process.wait, 20)
        self._stack.callback(process.terminate)
        return process

    @property
    def _dns(self) -> tuple[Path, Path]:
        return self.data / "address", self.data / "asked"

    def say_address(self, address: str | None) -> None:
        """What the name server answers from now on; empty: no such name; None: nothing at all."""
        file = self._dns[0]
        if address is None:
            file.unlink(missing_ok=True)
        else:
            file.write_text(address)

    def asked(self) -> list[list[str]]:
        """Who asked the name server for what, oldest first: address and name."""
        lines = self._dns[1].read_text().splitlines() if self._dns[1].exists() else []
        return [line.split() for line in lines]

    def cut_old_place(self) -> None:
        """Nothing gets to the hub's first address any more, nor from it."""
        self.net.ip("route", "add", "blackhole", "10.91.9.2/32")
        self.net.ip("rule", "add", "from", "10.91.9.2", "blackhole")

    def leave_old_place(self) -> None:
        """The hub has its second address alone.

        With both, newer releases of wireguard-go answer from the first, whichever was called, and the site follows.
        """
        self.hub.run("tee", "/proc/sys/net/ipv4/conf/out/promote_secondaries", given="1")
        self.hub.ip("address", "delete", "10.91.9.2/24", "dev", "out")

    def cut(self, name: str) -> None:
        """Beyond the modem nothing gets through any more; the cable at the site looks as before."""
        rules = f"""table ip cut_{name} {{
            chain in {{ type filter hook prerouting priority -300; iifname "n{name}" drop; }}
            chain out {{ type filter hook postrouting priority 300; oifname "n{name}" drop; }}
        }}"""
        self.net.run("nft", "-f", "-", given=rules)

    def mend(self, name: str) -> None:
        self.net.run("nft", "delete", "table", "ip", f"cut_{name}")

    def slow(self, name: str, rate: str) -> None:
        """What the site sends by this uplink gets through no faster."""
        self.site.tc("qdisc", "replace", "dev", name, "root", "tbf", "rate", rate, "burst", "8kb", "latency", "50ms")

    def close(self) -> None:
        self._stack.close()

    # ------------------------------------------------------------ the tunnel

    def raise_tunnel(self) -> None:
        """Keys, interfaces and addresses at both ends; the site's peer is left to the process `tunnel`."""
        self.keys = {end: call("wg", "genkey").strip() for end in ("site", "hub", "other")}
        self.start_wireguard(self.hub, self.hub_interface, "hub", f"{HUB}/24")
        self.hub.run("wg", "set", self.hub_interface, "listen-port", str(PORT))
        self.admit("site")
        self.start_wireguard(self.site, self.interface, "site", "10.99.0.2/24")

    def start_wireguard(self, room: Room, name: str, end: str, address: str) -> subprocess.Popen[bytes]:
        process = self._keep(room.start("wireguard-go", "-f", name, env=_WIREGUARD))
        wait_for(lambda: Path(f"/run/wireguard/{name}.sock").exists(), f"{name} is there")
        room.run("wg", "set", name, "private-key", "/dev/stdin", given=self.keys[end])
        room.ip("address", "add", address, "dev", name)
        room.ip("link", "set", name, "mtu", "1420", "up")
        return process

    def public(self, end: str) -> str:
        return call("wg", "pubkey", given=self.keys[end]).strip()

    def admit(self, end: str) -> None:
        """The hub knows this end's key."""
        self.hub.run("wg", "set", self.hub_interface, "peer", self.public(end), "allowed-ips", "10.99.0.2/32")

    @contextlib.contextmanager
    def hub_process(self, secret_of: str = "site-1") -> Iterator[str]:
        """A hub that listens at its tunnel address; yields the secret of a site."""
        data = self.data.parent / "hub"
        secret = add_site(hub_config(data), secret_of)
        file = write_hub(self.data.parent / "hub.toml", data, 8090, hub__bind=HUB)
        verb = [sys.executable, "-m", "appliance.cli", "--config", str(file), "hub", "run"]
        with self.hub.start(*verb) as process:
            try:
                wait_for(lambda: f"{HUB}:8090" in self.hub.run("ss", "-Hltn"), "the hub listens")
                yield secret
            finally:
                process.terminate()

    def expel(self, end: str) -> None:
        self.hub.run("wg", "set", self.hub_interface, "peer", self.public(end), "remove")

    # ------------------------------------------------------------ the unit

    def config(self, *, uplinks: Sequence[str] = (), hub: dict[str, Any] | None = None, **tunnel: Any) -> UnitConfig:
        """Quick to see trouble. `hub`, `tunnel`: other values of those sections."""
        quick = {"silent_seconds": 1.0, "step_seconds": 1.0, "return_seconds": 2.0, "keepalive_seconds": 1}
        named = {"endpoint": f"{NAME}:{PORT}", "peer": self.public("hub"), "resolvers": (RESOLVER,)}
        reach = {"url": f"http://{HUB}:8090", "interface": self.interface}
        return UnitConfig(
            site=SiteSection(id="site-1"),
            storage=Storage(data=str(self.data)),
            hub=Uplink(**(reach | (hub or {}))),
            tunnel=Tunnel(**(quick | named | tunnel)),
            link=Link(uplinks=tuple(LinkUplink(name=name, device=name) for name in uplinks)),
        )

    def write(self, config: UnitConfig) -> Path:
        """The file of the unit, for a process in the site's namespace."""
        path = self.data / "unit.toml"
        sections = (("site", config.site), ("storage", config.storage), ("hub", config.hub), ("tunnel", config.tunnel))
        lines = []
        for name, section in sections:
            lines.append(f"[{name}]")
            lines += [f"{key} = {json.dumps(getattr(section, key))}" for key in section.__struct_fields__]
        for uplink in config.link.uplinks:
            lines += ["[[link.uplinks]]", f'name = "{uplink.name}"', f'device = "{uplink.device}"']
        path.write_text("\n".join(lines))
        return path

    @contextlib.contextmanager
    def process(self, name: str, config: UnitConfig, *before: str) -> Iterator[subprocess.Popen[bytes]]:
        """One process of the unit, in the site's namespace; `before`: words before its command."""
        verb = [*before, sys.executable, "-m", "appliance.cli", "--config", str(self.write(config)), name]
        with (self.data / f"{name}.log").open("ab") as log, self.site.start(*verb, stderr=log) as process:
            try:
                yield process
            finally:
                process.terminate()
                assert process.wait(20) == 0, (self.data / f"{name}.log").read_text()[-2000:]

    @contextlib.contextmanager
    def chatter(self) -> Iterator[None]:
        """Somebody at the site sends a small datagram to the hub ten times a second; its kernel answers some."""
        program = (
            "import contextlib, socket, sys, time\n"
            "with socket.socket(type=socket.SOCK_DGRAM) as sock:\n"
            "    while not time.sleep(0.1):\n"
            "        with contextlib.suppress(OSError):\n"
            "            sock.sendto(b'.' * 64, (sys.argv[1], 9))\n"
        )
        with self.site.start(sys.executable, "-c", program, HUB) as process:
            try:
                yield
            finally:
                process.terminate()

    def facts(self) -> Any:
        """The tunnel as the process wrote it down."""
        with contextlib.closing(open_database(self.data)) as connection:
            return read_facts(connection, now_ms())

    def beats(self, name: str) -> int | None:
        """The process id of the last one of this name that beat."""
        with contextlib.closing(open_database(self.data)) as connection:
            row = connection.execute("SELECT pid FROM process WHERE name = ?", (name,)).fetchone()
            return None if row is None else int(row["pid"])

    def events(self) -> list[tuple[str, str]]:
        """Step and outcome, oldest first."""
        with contextlib.closing(open_database(self.data)) as connection:
            return [(row["step"], row["outcome"]) for row in reversed(read_events(connection, 1000))]

    def await_state(self, state: str, seconds: float = 60.0) -> Any:
        return wait_for(lambda: (facts := self.facts()).state == state and facts, f"the tunnel is {state}", seconds)


@contextlib.contextmanager
def tunnel_rig(data: Path) -> Iterator[Rig]:
    """The three rooms, and a tunnel whose site's end has no peer yet."""
    data.mkdir(parents=True, exist_ok=True)
    rig = Rig(data)
    try:
        rig.build()
        rig.raise_tunnel()
        yield rig
    finally:
        rig.close()
