"""The kernel's side of the tunnel, by `wg` and `ip`: no shell, a bounded time, and a word for each way it may fail.

What they print may hold keys, so that nothing of it is ever logged as it is. Names are never given to them: `wg` would
look them up by whatever route there is.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from appliance.link.wireguard import Interface, Peer, parse_dump, preshared_key
from appliance.model.tunnel import Problem

_SECONDS: Final = 5.0
_ENVIRONMENT: Final = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
_SAID: Final = (
    ("Operation not permitted", Problem.NO_RIGHT),
    ("Permission denied", Problem.NO_RIGHT),
    ("No such device", Problem.NO_INTERFACE),
    ("Cannot find device", Problem.NO_INTERFACE),
)
NET: Final = Path("/sys/class/net")


class ToolError(Exception):
    """A command did not do what was asked; `problem` says why. The message is its last line."""

    def __init__(self, problem: Problem, message: str) -> None:
        super().__init__(message)
        self.problem = problem


def run(words: Sequence[str], *, given: str = "", seconds: float = _SECONDS) -> str:
    """What the command printed. `given` is its standard input. Raises ToolError."""
    try:
        done = subprocess.run(  # noqa: S603 - a list of words, no shell
            list(words), input=given, capture_output=True, text=True, timeout=seconds, check=False, env=_ENVIRONMENT
        )
    except FileNotFoundError as error:
        raise ToolError(Problem.NO_TOOL, f"{words[0]} is not installed") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolError(Problem.TOOL_FAILS, f"{words[0]} does not end or start") from error
    if done.returncode == 0:
        return done.stdout
    said = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
    problem = next((problem for text, problem in _SAID if text in done.stderr), Problem.TOOL_FAILS)
    raise ToolError(problem, f"{words[0]}: {said[0]}")


def read_interface(name: str) -> Interface:
    """The WireGuard interface as it is now. Raises ToolError."""
    if not (NET / name).exists():
        raise ToolError(Problem.NO_INTERFACE, f"there is no interface {name}")
    try:
        return parse_dump(run(["wg", "show", name, "dump"]))
    except ValueError as error:
        raise ToolError(Problem.TOOL_FAILS, f"wg show: {error}") from error


def set_endpoint(interface: str, peer: Peer, endpoint: str) -> None:
    """Sends to `endpoint` (ADDRESS:PORT) from now on; the peer is made when it is not there. Raises ToolError."""
    run(["wg", "set", interface, "peer", peer.key, "endpoint", endpoint, *_rest(peer)])


def set_anew(interface: str, peer: Peer, endpoint: str, *, mark: int | None = None) -> None:
    """Takes the peer away and sets it again, in one request: the session ends, and a handshake begins at once.

    Its preshared key is kept. With `mark`, the tunnel's own packets carry it from now on. Raises ToolError.
    """
    shared = preshared_key(run(["wg", "show", interface, "dump"]), peer.key)
    words = ["wg", "set", interface, *([] if mark is None else ["fwmark", str(mark)]), "peer", peer.key, "remove"]
    words += ["peer", peer.key, *(["preshared-key", "/dev/stdin"] if shared else []), "endpoint", endpoint]
    run([*words, *_rest(peer)], given=shared)


def set_mark(interface: str, mark: int) -> None:
    """The tunnel's own packets carry `mark` from now on; 0: none. Raises ToolError."""
    run(["wg", "set", interface, "fwmark", str(mark)])


def _rest(peer: Peer) -> list[str]:
    allowed = ["allowed-ips", ",".join(peer.allowed)] if peer.allowed else []
    return ["persistent-keepalive", str(peer.keepalive), *allowed]


class Road(msgspec.Struct, frozen=True, kw_only=True):
    """An uplink as the kernel is told of it. Packets with `mark` go by routing table `mark`: its device, or nowhere."""

    device: str
    gateway: str = ""
    mark: int


def pave(road: Road) -> None:
    """Makes the table of a road and the rule that leads there; again does no harm. Raises ToolError.

    When the device goes, its route goes with it, and what is left says "unreachable": never another way.
    """
    table = str(road.mark)
    version = "-6" if ":" in road.gateway else "-4"
    for family in ("-4", "-6") if version == "-6" else ("-4",):
        run(["ip", family, "route", "replace", "unreachable", "default", "metric", "4278198272", "table", table])
        rules = _listed(["ip", "-j", family, "rule", "show"])
        if not any(rule.get("table") == table and _number(rule.get("fwmark")) == road.mark for rule in rules):
            run(["ip", family, "rule", "add", "fwmark", table, "lookup", table, "priority", table])
    via = ["via", road.gateway] if road.gateway else []
    run(["ip", version, "route", "replace", "default", *via, "dev", road.device, "table", table])


def _number(text: object) -> int:
    try:
        return int(str(text), 0)
    except ValueError:
        return -1


def gateway_of(device: str) -> str:
    """The router that the device's own default route has; empty when it has none. Raises ToolError."""
    routes = _listed(["ip", "-j", "-4", "route", "show", "default", "dev", device])
    return next((str(route["gateway"]) for route in routes if "gateway" in route), "")


def device_to(address: str, mark: int = 0) -> str:
    """The device by which packets to `address` leave; empty when none leads there. Raises ToolError."""
    marked = ["mark", str(mark)] if mark else []
    try:
        routes = _listed(["ip", "-j", "route", "get", address, *marked])
    except ToolError as error:
        if error.problem is Problem.TOOL_FAILS:  # "Network is unreachable", "No route to host"
            return ""
        raise
    return str(routes[0].get("dev", "")) if routes else ""


def _listed(words: Sequence[str]) -> list[dict[str, Any]]:
    text = run(words).strip()
    try:
        return msgspec.json.decode(text, type=list[dict[str, Any]]) if text else []
    except msgspec.DecodeError as error:
        raise ToolError(Problem.TOOL_FAILS, f"{words[0]} prints something else than JSON") from error


def has_carrier(device: str, system: Path = NET) -> bool:
    """The device is there, switched on, and has a cable or a network at its other end."""
    try:
        return (system / device / "carrier").read_text("ascii").strip() == "1"
    except (OSError, ValueError):  # a device that is switched off has no carrier to read
        return False
