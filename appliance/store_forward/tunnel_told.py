"""The tunnel in words, for `appliance status` and `appliance doctor`. Pure; no key but this unit's public one."""

from __future__ import annotations

from typing import Final

import msgspec

from appliance.config import UnitConfig
from appliance.model.tunnel import Outcome, Problem, Step, TunnelFacts, TunnelState
from appliance.terminal import span

# What is wrong, and what to do. {interface}, {endpoint} and {key} (this unit's public one) are filled in.
PROBLEMS: Final[dict[Problem, tuple[str, str]]] = {
    Problem.NO_TOOL: ("`wg` or `ip` is not installed", "Install the packages wireguard-tools and iproute2."),
    Problem.NO_RIGHT: (
        "the process `tunnel` may not look at interface {interface}",
        "Give its service AmbientCapabilities=CAP_NET_ADMIN, or run it as root.",
    ),
    Problem.TOOL_FAILS: (
        "`wg show {interface} dump` says nothing that can be used",
        "Run it by hand, as root. Is {interface} a WireGuard interface?",
    ),
    Problem.NO_INTERFACE: (
        "there is no interface {interface}",
        "Make it (`systemctl status wg-quick@{interface}` says why it is not there), or mend hub.interface.",
    ),
    Problem.INTERFACE_OFF: ("interface {interface} is switched off", "Switch it on: ip link set {interface} up"),
    Problem.NO_KEY: (
        "interface {interface} has no private key",
        "Set it: wg set {interface} private-key FILE. The hub must know the public key that belongs to it.",
    ),
    Problem.OTHER_PEER: (
        "interface {interface} has a peer that is not the hub of tunnel.peer",
        "Compare tunnel.peer with what `wg show` prints at the hub. Take the wrong one away: wg set {interface} peer "
        "KEY remove",
    ),
    Problem.NO_UPLINK: ("no uplink has a carrier", "Look at cables, modems and SIM cards of [[link.uplinks]]."),
    Problem.CLOCK_BACK: (
        "this box's clock is before the last handshake, so that the hub takes a new one for a replay",
        "Set the clock: `timedatectl set-ntp true`. At boot: `appliance clock restore`, before the tunnel.",
    ),
    Problem.NO_ADDRESS: (
        "the name of {endpoint} is not found",
        "Check tunnel.endpoint, and the name servers (tunnel.resolvers, /etc/resolv.conf).",
    ),
    Problem.NO_ANSWER: (
        "the hub never answered a handshake: a key is wrong, or {endpoint} can't be reached",
        "`wg show` at the hub must list this unit's public key {key}, tunnel.peer must be the hub's, and UDP to "
        "{endpoint} must pass.",
    ),
    Problem.SILENT: (
        "the hub answers no more",
        "Nothing at first: help is under way. If it lasts: modem, provider; and at the hub, is this unit's public key "
        "{key} still listed?",
    ),
}
STEPS: Final[dict[Step, str]] = {
    Step.LOOK_UP: "looked the hub's address up",
    Step.SET_ENDPOINT: "set the hub's address",
    Step.REKEY: "asked for a new handshake",
    Step.NEXT_UPLINK: "went to the next uplink",
    Step.BETTER_UPLINK: "went back to a better uplink",
}
OUTCOMES: Final[dict[Outcome, str]] = {
    Outcome.DONE: "done",
    Outcome.SAME: "the same as before",
    Outcome.FAILED: "in vain",
}


_START: Final = "Start the process: `appliance tunnel`, or restart the unit. Why it ended: its last log lines."


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """`todo` is empty when all is well. `pressing`: it does not mend itself."""

    well: bool
    said: str
    todo: str = ""
    pressing: bool = False
    since: int | None = None


def tell(facts: TunnelFacts, config: UnitConfig, now: int) -> Told:
    """The tunnel in a sentence, and what to do. `now`: Unix ms."""
    if facts.since is None:
        return Told(well=False, said="it was never looked at", todo=_START)
    if not facts.watched:
        said = f"not known: nobody looks after it. It was {facts.state}{_by(facts)}{_handshake(facts, now)}"
        return Told(well=False, said=said, todo=_START)
    if facts.state is TunnelState.UP:
        return Told(well=True, said=f"up{_by(facts)}{_handshake(facts, now)}", since=facts.since)
    values = {"interface": config.hub.interface, "endpoint": config.tunnel.endpoint}
    values["key"] = facts.public_key or f"(wg show {config.hub.interface} public-key)"
    what, todo = PROBLEMS[facts.problem or Problem.SILENT]
    said = f"{facts.state}{_by(facts)}: {what.format(**values)}{_handshake(facts, now)}{_last_step(facts, now)}"
    pressing = facts.needs_person(now)
    return Told(well=False, said=said, todo=todo.format(**values), pressing=pressing, since=facts.since)


def _by(facts: TunnelFacts) -> str:
    return f" by {facts.uplink}" if facts.uplink else ""


def _handshake(facts: TunnelFacts, now: int) -> str:
    if facts.handshake_at is None:
        return ""
    return f"; last handshake {span((now - facts.handshake_at) / 1000)} ago"


def _last_step(facts: TunnelFacts, now: int) -> str:
    if facts.step is None or facts.step_at is None or facts.step_outcome is None:
        return ""
    ago = span((now - facts.step_at) / 1000)
    return f"; {ago} ago it {STEPS[facts.step]} ({OUTCOMES[facts.step_outcome]})"
