"""The tunnel in the page's words: its place in the strip, and its lines under Needs help."""

from __future__ import annotations

from typing import Final

from flask_babel.speaklater import LazyString

from appliance.model.tunnel import Problem, TunnelFacts, TunnelState
from appliance.webui.language import duration, moment
from appliance.webui.names import clean
from appliance.webui.say import _, _l

# What is wrong in a few words, and what to do.
PROBLEMS: Final[dict[Problem, tuple[LazyString, LazyString]]] = {
    Problem.NO_TOOL: (_l("WireGuard's tools are not installed"), _l("Call the engineer.")),
    Problem.NO_RIGHT: (_l("this box may not look at its tunnel"), _l("Call the engineer.")),
    Problem.TOOL_FAILS: (_l("this box can't read its tunnel"), _l("Call the engineer.")),
    Problem.NO_INTERFACE: (
        _l("its interface is missing"),
        _l("Restart the box. If that does not help, call the engineer."),
    ),
    Problem.INTERFACE_OFF: (
        _l("its interface is switched off"),
        _l("Restart the box. If that does not help, call the engineer."),
    ),
    Problem.NO_KEY: (_l("it has no key"), _l("Call the engineer.")),
    Problem.OTHER_PEER: (_l("it is set to another hub"), _l("Call the engineer: a key is wrong here.")),
    Problem.NO_UPLINK: (
        _l("no modem or cable is connected"),
        _l("Check that modem and router have power, and that their cables are in."),
    ),
    Problem.CLOCK_BACK: (
        _l("the clock of this box is in the past"),
        _l("Call the engineer: the hub takes nothing from the past, so the clock must be set."),
    ),
    Problem.NO_ADDRESS: (
        _l("the hub's address is not found"),
        _l("Check that modem and router have power and credit. Then call the engineer."),
    ),
    Problem.NO_ANSWER: (
        _l("the hub has never answered"),
        _l("Call the engineer: a key may be wrong, here or at the hub, or the network lets no tunnel through."),
    ),
    Problem.SILENT: (
        _l("no answer"),
        _l("Check that modem and router have power and credit. Then call the engineer."),
    ),
}


def state(tunnel: TunnelFacts, now: int) -> tuple[str, str]:
    """What the strip says of it, and its tone."""
    if tunnel.since is None:
        return _("not known yet"), "wait"
    if not tunnel.watched:
        return _("not known: nobody looks after it"), "bad"
    if tunnel.state is TunnelState.UP:
        said = _("up by %(uplink)s", uplink=clean(tunnel.uplink)) if tunnel.uplink else _("up")
        if tunnel.handshake_at is None:
            return said, "good"
        age = duration(max(0, now - tunnel.handshake_at) / 1000)
        return _("%(state)s, checked %(time)s ago", state=said, time=age), "good"
    said = _("%(problem)s, since %(time)s", problem=_words(tunnel)[0], time=moment(tunnel.since, now))
    return said, "bad" if tunnel.needs_person(now) else "wait"


def _words(tunnel: TunnelFacts) -> tuple[str, str]:
    what, todo = PROBLEMS[tunnel.problem or Problem.SILENT]
    return str(what), str(todo)
