"""What `./dev crash` and tests/crash run: every rig by its name, and how many of its rounds make up N."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from support import kills, tunnel_kills
from support.power_cut import ReceiveRig, Rig, Summary, generation
from support.power_cut_hub import HubRig
from support.power_cut_unit import PackingRig, UnitRig

CUTS_OF_A_GENERATION: Final = 25
RIGS: Final[dict[str, type[Rig]]] = {rig.name: rig for rig in (ReceiveRig, PackingRig, HubRig, UnitRig)}
NAMES: Final = (*RIGS, "kills", "tunnel")
_KILLS_OF_THE_TUNNEL: Final = 20  # one for so many other kills: each takes seconds
# Of N power cuts: the receiver's promise is the one that a modality relies on, and its cuts are the quickest.
_SHARES: Final = {"receive": 0.5, "packing": 0.2, "hub": 0.15, "unit": 0.15}


class Run(NamedTuple):
    """One generation of cuts, or one run of kills."""

    name: str
    seed: int
    rounds: int

    def do(self, directory: Path) -> Summary:
        """Runs it."""
        if self.name == "kills":
            return kills.run(directory, self.seed, self.rounds)
        if self.name == "tunnel":
            return tunnel_kills.run(directory, self.seed, self.rounds)
        return generation(RIGS[self.name], directory, self.seed, self.rounds)


def plan(rounds: int, seed: int, names: tuple[str, ...] = NAMES) -> list[Run]:
    """Runs that together make `rounds` power cuts and as many kills, with seeds from `seed` on.

    With one rig named, all the cuts are its own. The process `tunnel` is killed less often, unless it is named alone.
    """
    cutting = [name for name in names if name in RIGS]
    whole = sum(_SHARES[name] for name in cutting)
    runs: list[Run] = []
    for name in cutting:
        runs += _split(name, round(rounds * _SHARES[name] / whole), CUTS_OF_A_GENERATION, seed)
    if "kills" in names:
        runs += _split("kills", rounds, kills.KILLS_OF_A_RUN, seed)
    if "tunnel" in names:
        some = rounds if names == ("tunnel",) else -(-rounds // _KILLS_OF_THE_TUNNEL)
        runs += _split("tunnel", some, tunnel_kills.KILLS_OF_A_RUN, seed)
    return runs


def _split(name: str, rounds: int, size: int, seed: int) -> Iterator[Run]:
    for number, done in enumerate(range(0, rounds, size)):
        yield Run(name, seed + number, min(size, rounds - done))


def totals(results: list[tuple[Run, Summary]]) -> dict[str, Summary]:
    """One summary a rig."""
    found: dict[str, Summary] = {}
    for run, summary in results:
        found.setdefault(run.name, Summary()).add(summary)
    return found
