"""Kills one process after another with SIGKILL while studies flow from a modality to the hub, and looks at the end."""

from __future__ import annotations

import os
import random
import signal
import threading
from pathlib import Path
from typing import Final

from support.mini_system import MiniSystem
from support.power_cut import Summary

VICTIMS: Final = ("receive", "compress", "a worker", "forward", "web", "hub")
KILLS_OF_A_RUN: Final = 50
_PARCELS: Final = {"compress__parcel_instances": 48}  # the hub checks each parcel in a fresh process
_LONGEST_PAUSE: Final = 0.5


def run(directory: Path, seed: int, kills: int) -> Summary:
    """`kills` kills at moments drawn from `seed`; then everything must be delivered, once, and nothing be stuck."""
    draw, summary = random.Random(seed), Summary()
    with MiniSystem(directory / f"kills-{seed}", proxied=True, **_PARCELS) as system:
        system.start("hub", "receive", "compress", "forward", "web")
        system.await_listeners()
        modalities = [system.modality(f"{seed + 1}.{number}", pause=0.03) for number in range(2)]
        for number in range(kills):
            threading.Event().wait(draw.uniform(0, _LONGEST_PAUSE))
            victim = VICTIMS[number % len(VICTIMS)]
            summary.prevented[victim] += _kill(system, victim)
            summary.cuts += 1
        for modality in modalities:
            modality.stop()
        acknowledged = modalities[0].acknowledged | modalities[1].acknowledged
        summary.acknowledged = len(acknowledged)
        problems = system.settle(acknowledged) or _after(system)
        summary.problems = [f"kills seed {seed}: {problem}" for problem in problems]
    return summary


def _kill(system: MiniSystem, victim: str) -> int:
    """Kills and starts again; how many processes that were (a worker may not be there just now)."""
    if victim != "a worker":
        system.kill(victim)
        system.start(victim)
        return 1
    workers = children_of(system.running["compress"].pid)
    for pid in workers[:1]:
        os.kill(pid, signal.SIGKILL)
    return min(1, len(workers))


def children_of(pid: int) -> list[int]:
    """The processes that `pid` started and that are there now."""
    try:
        lists = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [int(word) for text in lists for word in text.split()]


def _after(system: MiniSystem) -> list[str]:
    """What only the whole system can tell: each instance once, nothing twice on the wire, every process alive."""
    assert system.proxy
    problems = list(system.proxy.seen.sent_again)
    copies = system.hub_rows("SELECT count(*) FROM instance")[0][0]
    here = system.rows("SELECT count(*) FROM instance")[0][0]
    if copies != here:
        problems.append(f"{copies} instances at the hub, {here} at the unit")
    conflicts = system.hub_rows("SELECT count(*) FROM instance WHERE conflict")[0][0]
    problems += [f"{conflicts} instances are called conflicts at the hub"] if conflicts else []
    return problems + system.ended()
