"""A real WireGuard tunnel between two namespaces: wireguard-go at both ends, the emulator in between."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from harness import control
from harness.namespaces import ADDRESSES, HUB, INTERNET, SITE, Namespaces, Place
from harness.processes import Running

_HERE = Path(__file__).parent
PORT: Final = 51820
TUNNEL: Final = {SITE: "10.99.0.2", HUB: "10.99.0.1"}
# It warns that the kernel's WireGuard is better, and does not start where it thinks that there is one.
_ENVIRONMENT = {"WG_I_PREFER_BUGGY_USERSPACE_TO_POLISHED_KMOD": "1", "LOG_LEVEL": "error"}


class Tunnel:
    """As a context manager: stands when it is entered. `site` and `hub` are the places at its two ends.

    The line is open until `begin` says otherwise.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._control = directory / "emulator.socket"
        self._stack = ExitStack()
        self._namespaces = Namespaces()

    def __enter__(self) -> Tunnel:
        with ExitStack() as stack:
            stack.enter_context(self._namespaces)
            stack.enter_context(self._relay())
            ends = {name: stack.enter_context(self._end(name)) for name in (SITE, HUB)}
            self._join(ends)
            stack.enter_context(self._listen())
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def site(self) -> Place:
        """Where the unit runs."""
        return self._namespaces[SITE]

    @property
    def hub(self) -> Place:
        """Where the hub runs."""
        return self._namespaces[HUB]

    def begin(self, profile: str, seed: int = 1, **line: object) -> control.Answer:
        """From now on the line is this one: a named profile, or one made by hand (see `emulator`)."""
        return control.ask(self._control, {"begin": profile, "seed": seed, **line})

    def facts(self) -> control.Answer:
        """What the line carried, and could have, since it began."""
        return control.ask(self._control)

    def sent(self) -> control.Answer:
        """What left the site through the tunnel (see `tap`)."""
        return control.ask(self._directory / "tap.socket")

    def _listen(self) -> Running:
        path = self._directory / "tap.socket"
        words = [sys.executable, _HERE / "tap.py", "--interface", self.site.interface, "--control", path]
        running = Running("tap", self.site.command(words), self._directory / "tap.log")
        running.wait_until(path.exists, "its control socket")
        return running

    def _relay(self) -> Running:
        listen, hub = f"{ADDRESSES[SITE][0]}:{PORT}", f"{ADDRESSES[HUB][1]}:{PORT}"
        words = [sys.executable, _HERE / "emulator.py", "--listen", listen, "--hub", hub, "--control", self._control]
        running = Running("emulator", self._namespaces[INTERNET].command(words), self._directory / "emulator.log")
        running.wait_until(self._control.exists, "its control socket")
        return running

    def _end(self, name: str) -> Running:
        interface = f"wg{self._namespaces.token}{name[0]}"  # its control socket is named so, for all namespaces
        place = self._namespaces[name]
        command = place.command(["wireguard-go", "--foreground", interface])
        running = Running(f"wireguard-go of {name}", command, self._directory / f"{name}.log", _ENVIRONMENT)
        running.wait_until(lambda: Path(f"/run/wireguard/{interface}.sock").exists(), "its control socket")
        place.run("ip", "address", "add", f"{TUNNEL[name]}/24", "dev", interface)
        place.run("ip", "link", "set", interface, "up", "mtu", "1420")
        self._namespaces.give(name, TUNNEL[name], interface)
        return running

    def _join(self, ends: dict[str, Running]) -> None:
        site, hub = self.site, self.hub
        keys = {place: self._key(place) for place in (site, hub)}
        public = {place: place.run("sh", "-c", f"wg pubkey <{keys[place]}").strip() for place in (site, hub)}
        listen = ("listen-port", str(PORT), "private-key", keys[hub])
        hub.run("wg", "set", hub.interface, *listen, "peer", public[site], "allowed-ips", f"{site.address}/24")
        endpoint = ("endpoint", f"{ADDRESSES[SITE][0]}:{PORT}", "persistent-keepalive", "25")
        peer = ("private-key", keys[site], "peer", public[hub], "allowed-ips", f"{hub.address}/32")
        site.run("wg", "set", site.interface, *peer, *endpoint)
        ends[SITE].wait_until(lambda: self._shook_hands(site), "a handshake")

    def _key(self, place: Place) -> Path:
        file = self._directory / f"{place.interface}.key"
        file.touch(mode=0o600)
        file.write_text(place.run("wg", "genkey"), "ascii")
        return file

    def _shook_hands(self, place: Place) -> bool:
        return not place.run("wg", "show", place.interface, "latest-handshakes").rstrip().endswith("\t0")
