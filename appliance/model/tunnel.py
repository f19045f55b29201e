"""The tunnel's states, what may be wrong with it, and what the watchdog can do: the words that its rows hold.

The sentences for people are `store_forward.tunnel_checks` (terminal) and `webui.health_words` (page); tests hold both
to one for each word.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

_MINUTE: Final = 60_000
LONG_SILENT_MS: Final = 10 * _MINUTE  # a fault that mends itself is told as one only after this time


class TunnelState(StrEnum):
    UP = "up"  # the last handshake is young, and what is sent is answered
    STALE = "stale"  # there was one, and now nobody answers
    DOWN = "down"  # there never was one, or the interface is not there


class Problem(StrEnum):
    """Why the tunnel is not up, the first cause first. NONE: nothing is known to be wrong."""

    NONE = ""
    NO_TOOL = "no-tool"  # `wg` or `ip` is not installed
    NO_RIGHT = "no-right"  # this process may not ask the kernel (CAP_NET_ADMIN)
    TOOL_FAILS = "tool-fails"  # they say something that we don't understand, or nothing in time
    NO_INTERFACE = "no-interface"
    INTERFACE_OFF = "interface-off"
    NO_KEY = "no-key"  # the interface has no private key
    OTHER_PEER = "other-peer"  # it has a peer, and that is not the hub of the file
    NO_UPLINK = "no-uplink"  # none of the uplinks has a device with a carrier
    CLOCK_BACK = "clock-back"  # our time is before the last handshake's: the hub takes it for a replay
    NO_ADDRESS = "no-address"  # the endpoint's name is not found
    NO_ANSWER = "no-answer"  # never a handshake: keys, or the hub's port can't be reached
    SILENT = "silent"  # there was an answer once, and now none


# What does not mend itself: a person is told at once.
NEEDS_PERSON: Final = frozenset(
    {
        Problem.NO_TOOL,
        Problem.NO_RIGHT,
        Problem.TOOL_FAILS,
        Problem.NO_INTERFACE,
        Problem.INTERFACE_OFF,
        Problem.NO_KEY,
        Problem.OTHER_PEER,
        Problem.CLOCK_BACK,
    }
)


class Step(StrEnum):
    """What the watchdog does for a tunnel that does not answer, in this order; the last is for better days."""

    LOOK_UP = "look-up"  # ask for the address of the endpoint's name again
    SET_ENDPOINT = "set-endpoint"
    REKEY = "rekey"  # take the peer away and set it again: a new handshake
    NEXT_UPLINK = "next-uplink"
    BETTER_UPLINK = "better-uplink"  # go back to one that comes earlier in the file


class Outcome(StrEnum):
    DONE = "done"
    SAME = "same"  # looked up: the address is the one in use
    FAILED = "failed"


class TunnelFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The tunnel as the process `tunnel` last saw it. Times in Unix ms. Holds no key but our public one."""

    state: TunnelState = TunnelState.DOWN
    since: int | None = None  # of this state; None: it was never looked at
    watched: bool = True  # the process beats; if not, the rest is what it knew last
    handshake_at: int | None = None  # the last one; None: never
    endpoint: str = ""  # ADDRESS:PORT that the kernel sends to
    public_key: str = ""  # of this unit; the hub must know it
    uplink: str = ""  # name of the one in use; empty when none is configured
    uplink_since: int | None = None
    problem: Problem = Problem.NONE
    clock_set: bool = True  # this machine's clock was set by NTP since it started
    step: Step | None = None  # what the watchdog did last
    step_at: int | None = None
    step_outcome: Outcome | None = None

    def needs_person(self, now: int) -> bool:
        """Whether somebody must act: at once for what does not mend itself, else after some time. A process that has
        stopped is another matter.
        """
        if not self.watched:
            return False
        if self.problem in NEEDS_PERSON:
            return True
        return bool(self.problem) and self.since is not None and now - self.since > LONG_SILENT_MS
