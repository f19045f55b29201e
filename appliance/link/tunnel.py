"""The rule that the unit speaks to the hub only through the tunnel (DESIGN invariant 4), as an address once checked.

No name is ever looked up: a look-up would leave by another route. The kernel holds the rule itself: each socket is
bound to the interface (SO_BINDTODEVICE), so that with the tunnel down there is no way out, rather than another one.
"""

from __future__ import annotations

import re
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from appliance.config import Uplink
from appliance.errors import ConfigError

_INTERFACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:@-]{0,14}", re.ASCII)
_IFF_UP = 0x1


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """Where the hub is: `origin` + `path` + a target make a URL. `interface` is empty for a hub on loopback alone."""

    origin: str  # scheme://address:port
    path: str  # of the base URL, without a slash at its end
    interface: str
    address: str  # of the hub, without brackets


def find_way(uplink: Uplink) -> Way:
    """The way to the hub. Raises ConfigError when there is none that stays in the tunnel or on loopback."""
    try:
        parts = urlsplit(uplink.url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:
        raise ConfigError(f"hub.url: {error}") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username or parts.query or parts.fragment:
        raise ConfigError("hub.url: must be http://ADDRESS:PORT")
    host = "127.0.0.1" if parts.hostname == "localhost" else parts.hostname
    try:
        address = ip_address(host)
    except ValueError as error:
        raise ConfigError("hub.url: must name the hub by its tunnel address, not by a name") from error
    if not uplink.interface and not address.is_loopback:
        raise ConfigError("hub.interface: must name the tunnel, because the hub is not on this machine")
    if uplink.interface and not _INTERFACE.fullmatch(uplink.interface):
        raise ConfigError("hub.interface: is not the name of a network interface")
    written = f"[{address}]" if isinstance(address, IPv6Address) else str(address)
    return Way(
        origin=f"{parts.scheme}://{written}:{port}",
        path=parts.path.rstrip("/"),
        interface=uplink.interface,
        address=str(address),
    )


def interface_is_up(name: str, *, system: Path = Path("/sys/class/net")) -> bool:
    """True when the interface exists and is switched on. A tunnel that is on may still lead nowhere."""
    try:
        return bool(int((system / name / "flags").read_text("ascii"), 16) & _IFF_UP)
    except (OSError, ValueError):
        return False
