"""Kills the process `tunnel` at random moments while its line comes and goes, and looks at what it left each time."""

from __future__ import annotations

import random
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final

from support.power_cut import Summary
from support.processes import wait_for
from support.tunnel_rig import FIBRE, SIM, Rig, tunnel_rig

from appliance.errors import ClockError
from appliance.link import last_time

KILLS_OF_A_RUN: Final = 15
_LONGEST_LIFE: Final = 4.0  # seconds: to its start, its first look, and some steps of help
_ALONE: Final = threading.Lock()  # the rig's namespaces have the names of this process


def run(directory: Path, seed: int, kills: int) -> Summary:
    """`kills` kills at moments drawn from `seed`; after each the interface must be as it was and the kept time no
    earlier, and at the end the tunnel must come up by itself. Needs root.
    """
    with _ALONE, tunnel_rig(directory / f"tunnel-{seed}") as rig:
        return _Killing(rig, random.Random(seed), seed).run(kills)


class _Killing:
    def __init__(self, rig: Rig, draw: random.Random, seed: int) -> None:
        self._rig, self._draw, self._seed = rig, draw, seed
        self._config = rig.config(uplinks=(FIBRE, SIM))
        self._cut: set[str] = set()
        self._kept = 0
        self._summary = Summary()

    def run(self, kills: int) -> Summary:
        self._share_a_key()
        with self._rig.chatter():
            with self._rig.process("tunnel", self._config):
                self._rig.await_state("up")
            was = self._interface()
            for _ in range(kills):
                self._weather()
                self._kill()
                self._look(was)
            self._end(was)
        return self._summary

    def _share_a_key(self) -> None:
        """A key that only the interface has: whoever sets the peer anew must not lose it."""
        rig, shared = self._rig, self._rig.site.run("wg", "genpsk")
        for room, interface, end in ((rig.site, rig.interface, "hub"), (rig.hub, rig.hub_interface, "site")):
            room.run("wg", "set", interface, "peer", rig.public(end), "preshared-key", "/dev/stdin", given=shared)
        rig.site.run("wg", "set", rig.interface, "peer", rig.public("hub"), "allowed-ips", "10.99.0.0/24")

    def _weather(self) -> None:
        """An uplink is cut or mended, so that there are steps to be killed in."""
        name = self._draw.choice((FIBRE, SIM))
        (self._rig.mend if name in self._cut else self._rig.cut)(name)
        self._cut ^= {name}

    def _kill(self) -> None:
        verb = [sys.executable, "-m", "appliance.cli", "--config", str(self._rig.write(self._config)), "tunnel"]
        with (self._rig.data / "tunnel.log").open("ab") as log, self._rig.site.start(*verb, stderr=log) as process:
            threading.Event().wait(self._draw.uniform(0, _LONGEST_LIFE))
            process.kill()
        self._summary.cuts += 1
        self._summary.prevented["tunnel"] += 1

    def _look(self, was: dict[str, Any]) -> None:
        now = self._interface()
        for what, value in was.items():
            if now[what] != value:
                self._say(f"{what} of the interface changed")
        rules = self._rig.site.ip("rule", "show").splitlines()
        if len(rules) != len(set(rules)):
            self._say("a rule of an uplink is there twice")
        try:
            kept = last_time.read(self._rig.data) or 0
        except ClockError:
            kept = -1
        if kept < self._kept:
            self._say("the time that was kept is gone or went back")
        self._kept = kept

    def _interface(self) -> dict[str, Any]:
        """What must outlive any kill: not the endpoint and the mark, which are what is changed to help."""
        site, name = self._rig.site, self._rig.interface
        own, *peers = site.run("wg", "show", name, "dump").splitlines()
        return {
            "the key": own.split("\t")[0],
            "the state": "UP" in site.ip("link", "show", name).split(">")[0],
            "the address": site.ip("-4", "-o", "address", "show", name).split()[3],
            "a peer": [(key, shared, allowed) for key, shared, _, allowed, *_ in (line.split("\t") for line in peers)],
        }

    def _end(self, was: dict[str, Any]) -> None:
        """Everything works again: so must the tunnel, and the clock that is behind is told the time."""
        for name in list(self._cut):
            self._rig.mend(name)
        with self._rig.process("tunnel", self._config) as process:
            try:
                wait_for(lambda: self._is_up(process.pid), "the tunnel is up", 30)
            except TimeoutError:
                facts = self._rig.facts()
                self._say(f"the tunnel is {facts.state} and stays so: {facts.problem}")
        self._look(was)
        now = int(time.time() * 1000)
        if not now - 300_000 < self._kept <= now:
            self._say("the time that is kept is not that of now")

    def _is_up(self, pid: int) -> bool:
        """By the word of this process, and not of one that was killed."""
        beats = self._rig.beats("tunnel")
        return bool(beats == pid and self._rig.facts().state == "up")

    def _say(self, problem: str) -> None:
        self._summary.problems.append(f"tunnel seed {self._seed}: after kill {self._summary.cuts}: {problem}")
