"""Three namespaces of the network: a site, a hub, and the internet between them, which alone both have a cable to.

Nothing is routed: between site and hub there is only what a relay in the internet passes on. Needs root. The names
are new for each, so that several stand beside each other, and say whose they are: what a bench that was killed left
behind is cleared by the next one.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

SITE, INTERNET, HUB = "site", "internet", "hub"
# Of the two cables, the internet's end and the other.
ADDRESSES: Final = {SITE: ("10.201.1.1", "10.201.1.2"), HUB: ("10.201.2.1", "10.201.2.2")}
_numbers = itertools.count()
_OURS: Final = re.compile(r"gateway-(\d+)x\d+-(?:site|internet|hub)", re.ASCII)  # the number: whose process id


@dataclass(frozen=True)
class Place:
    """Where a process runs, the address that it is reached at there, and the interface that leads to its peer."""

    namespace: str = ""
    address: str = "127.0.0.1"
    interface: str = ""

    def command(self, words: Sequence[str | Path]) -> list[str | Path]:
        """The command line that runs `words` there. It becomes that program: its process id is the program's."""
        return [*(("ip", "netns", "exec", self.namespace) if self.namespace else ()), *words]

    def run(self, *words: str | Path, seconds: float = 60.0) -> str:
        """What the program printed. Raises CalledProcessError with what it said when it failed."""
        return subprocess.run(
            [str(word) for word in self.command(words)], check=True, capture_output=True, text=True, timeout=seconds
        ).stdout

    def listens(self, port: int) -> bool:
        """Whether something there listens on that port of TCP."""
        return f":{port} " in self.run("ss", "--tcp", "--listening", "--numeric", "--no-header")


HERE: Final = Place()  # where the bench itself runs


class Namespaces:
    """As a context manager: made at the start, gone at the end."""

    def __init__(self) -> None:
        self.token = f"{os.getpid()}x{next(_numbers)}"
        self._places = {name: Place(f"gateway-{self.token}-{name}") for name in (SITE, INTERNET, HUB)}

    def __getitem__(self, name: str) -> Place:
        return self._places[name]

    def give(self, name: str, address: str, interface: str) -> None:
        """From now on this is where `name` is reached."""
        self._places[name] = replace(self._places[name], address=address, interface=interface)

    def __enter__(self) -> Namespaces:
        clear_orphans()
        try:
            for place in self._places.values():
                ip("netns", "add", place.namespace)
                place.run("ip", "link", "set", "lo", "up")
            for name in (SITE, HUB):
                self._lay_cable(name)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for place in self._places.values():
            with contextlib.suppress(subprocess.CalledProcessError):  # it was not made
                ip("netns", "delete", place.namespace)

    def _lay_cable(self, name: str) -> None:
        here, there = self[INTERNET], self[name]
        ends = ("type", "veth", "peer", "name", "cable", "netns", there.namespace)
        ip("link", "add", name, "netns", here.namespace, *ends)
        for place, interface, address in zip((here, there), (name, "cable"), ADDRESSES[name], strict=True):
            place.run("ip", "address", "add", f"{address}/30", "dev", interface)
            place.run("ip", "link", "set", interface, "up")


def clear_orphans() -> None:
    """Removes the namespaces of benches that have ended without doing so, and ends what still runs in them."""
    listed = subprocess.run(["ip", "netns", "list"], check=True, capture_output=True, text=True).stdout
    for name in (line.split()[0] for line in listed.splitlines() if line):
        owner = _OURS.fullmatch(name)
        if owner is None or Path(f"/proc/{owner[1]}").exists():
            continue
        with contextlib.suppress(subprocess.CalledProcessError):  # another bench was first
            inside = subprocess.run(["ip", "netns", "pids", name], check=True, capture_output=True, text=True).stdout
            for process in inside.split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(process), signal.SIGKILL)
            ip("netns", "delete", name)


def ip(*words: str) -> None:
    """Runs `ip`."""
    subprocess.run(["ip", *words], check=True, capture_output=True)
