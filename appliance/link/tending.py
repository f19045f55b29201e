"""The hands of the watchdog: each step of help as done to the kernel, with what came of it.

What is decided is decided elsewhere (`watchdog`, `wireguard`); here it is only done. A step never raises: that it could
not be done is an outcome, with a reason that holds no key.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from typing import Final

import msgspec

from appliance.config import UnitConfig
from appliance.link import commands
from appliance.link.commands import ToolError
from appliance.link.look_up import TRIES, look_up
from appliance.link.names import LookUpError
from appliance.link.tunnel import find_way
from appliance.link.uplinks import FIRST_MARK, UPLINKS_MAX, Uplinks
from appliance.link.wireguard import Interface, Peer
from appliance.model.endpoint import is_address, join_endpoint, split_endpoint
from appliance.model.tunnel import Outcome, Step


class Done(msgspec.Struct, frozen=True):
    """What came of a step, with a word more for a person."""

    outcome: Outcome
    detail: str = ""


class Hands:
    """`address`: of the endpoint, as last found; empty while it is not known."""

    def __init__(self, config: UnitConfig, uplinks: Uplinks) -> None:
        self._tunnel, self._interface, self.uplinks = config.tunnel, config.hub.interface, uplinks
        self._host, self._port = split_endpoint(config.tunnel.endpoint)
        self.named = not is_address(self._host)
        self.address = "" if self.named else self._host
        self.address_failed = False
        hub = ip_address(find_way(config.hub).address)
        self._hub_alone = (f"{hub}/{hub.max_prefixlen}",)

    def settle(self, interface: Interface) -> None:
        """The tunnel's packets go by the uplink in use, whoever made the interface or the uplink anew."""
        mark = self.uplinks.mark()
        ours = interface.mark in range(FIRST_MARK, FIRST_MARK + UPLINKS_MAX)
        if interface.mark != mark and (mark or ours):
            self._try(lambda: self._mark(mark))

    def _mark(self, mark: int) -> None:
        self.uplinks.pave()
        commands.set_mark(self._interface, mark)

    def pave(self) -> None:
        """The way of the uplink in use again, when its device came back."""
        self._try(self.uplinks.pave)

    def do(self, step: Step, interface: Interface, rounds: int) -> Done:
        """Does one step. `rounds`: how many have not helped; then another of several addresses is taken."""
        peer = self._peer(interface)
        if step is Step.LOOK_UP:
            return self._look_up(peer.endpoint, rounds)
        if step is Step.NEXT_UPLINK:
            return self._move(peer, self.uplinks.after(), _anyhow)
        if step is Step.BETTER_UPLINK:
            return self._move(peer, self.uplinks.better(), self._leads_out)
        endpoint = self._endpoint(peer)
        if not endpoint:
            return Done(Outcome.FAILED, "no address is known")
        self.pave()
        act: Final = commands.set_endpoint if step is Step.SET_ENDPOINT else commands.set_anew
        return self._try(lambda: act(self._interface, peer, endpoint), endpoint)

    def _peer(self, interface: Interface) -> Peer:
        """The hub as it is to be set: what it may send, as the interface has it, else the hub's own address."""
        there = interface.peer(self._tunnel.peer)
        allowed = there.allowed if there else ()
        return Peer(
            key=self._tunnel.peer,
            endpoint=there.endpoint if there else "",
            allowed=allowed or self._hub_alone,
            keepalive=self._tunnel.keepalive_seconds,
        )

    def _endpoint(self, peer: Peer) -> str:
        return join_endpoint(self.address, self._port) if self.address else peer.endpoint

    def _look_up(self, in_use: str, rounds: int) -> Done:
        self.pave()
        try:
            found = self._addresses(self.uplinks.mark())
        except LookUpError as error:
            self.address_failed = not (self.address or in_use)  # else the line is to blame, not the name
            return Done(Outcome.FAILED, f"{self._host}: {error}")
        self.address_failed = not found
        if not found:
            return Done(Outcome.FAILED, f"{self._host}: there is no such name")
        known = [join_endpoint(address, self._port) for address in found]
        at = known.index(in_use) + bool(rounds) if in_use in known else 0
        self.address = found[at % len(found)]
        endpoint = known[at % len(found)]
        return Done(Outcome.SAME if endpoint == in_use else Outcome.DONE, endpoint)

    def _addresses(self, mark: int, tries: int = TRIES) -> list[str]:
        versions = (4,) if mark else (4, 6)  # the tables of uplinks are those of IPv4
        servers = self._tunnel.resolvers
        return look_up(self._host, tunnel=self._interface, servers=servers, mark=mark, versions=versions, tries=tries)

    def _leads_out(self, place: int) -> bool:
        """Whether a better uplink has the internet behind it, asked without moving the tunnel. A name server that
        answers is the proof; with an endpoint that is an address there is none to ask, and the tunnel itself must try.
        """
        if not self.named:
            return True
        try:
            found = self._addresses(self.uplinks.mark(place), tries=1)  # many may be dead, and each takes its time
        except LookUpError:
            return False
        if found:
            self.address = found[0]
        return bool(found)

    def _move(self, peer: Peer, places: list[int], works: Callable[[int], bool]) -> Done:
        """To the first that can be used. The peer is set anew: its handshake shows whether the uplink carries."""
        place = self.uplinks.first(places, works)
        if place is None:
            return Done(Outcome.FAILED, "no other uplink can be used")
        self.uplinks.place = place
        if self.named and not self.address and not peer.endpoint:
            self._look_up("", 0)
        endpoint, mark = self._endpoint(peer), self.uplinks.mark()
        if not endpoint:
            return self._try(lambda: commands.set_mark(self._interface, mark), self.uplinks.name)
        return self._try(lambda: commands.set_anew(self._interface, peer, endpoint, mark=mark), self.uplinks.name)

    @staticmethod
    def _try(what: Callable[[], None], detail: str = "") -> Done:
        try:
            what()
        except ToolError as error:
            return Done(Outcome.FAILED, str(error))
        return Done(Outcome.DONE, detail)


def _anyhow(_place: int) -> bool:
    """The tunnel does not work: any other uplink is worth a try."""
    return True
