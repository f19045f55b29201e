"""Networks that a bench sends over: loopback, and a hospital's, made of namespaces and shaped cables on this machine.

In the hospital each modality has a network namespace of its own and so has the switch, a bridge; the receiver stays
where the bench runs and has one more interface. Both ends of a cable are shaped to its speed, as full duplex is, and
nothing adds delay. The senders' work is still done by this machine's cores; only the wire is the hospital's.

A namespace lives as long as its keeper, a `cat` that reads from the bench. However the bench ends, the kernel closes
that pipe, the keeper ends, and the namespace goes, with every cable that ends in it.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

PORT_NAME = "bench-lan"  # the receiver's interface; a second bench at the same time finds it taken
FAST, GIGABIT = 100, 1000  # Mbit/s
# RFC 2544 keeps 198.18.0.0/15 for measurements, so no network that this machine is on has it.
RECEIVER, MODALITIES, FIRST_MODALITY = "198.18.0.1", "198.18.0.0/24", 11
_QUEUE = "50ms"  # what a switch's port holds; never filled here, since the receiver's port is the widest
_COMMAND_SECONDS = 20.0


class UnavailableError(Exception):
    """This machine or user can't make the network; the text says what is needed and what was said."""


@dataclass(frozen=True)
class Network:
    """Where a receiver listens, which addresses call it, and what runs a command at each modality."""

    name: str
    address: str
    modalities: str
    at_modality: Sequence[Sequence[str]]

    def at(self, number: int) -> list[str]:
        """The words before a command that make it run at the modality of that number, from 0; none on loopback."""
        return list(self.at_modality[number]) if self.at_modality else []


LOOPBACK = Network("loopback", "127.0.0.1", "127.0.0.0/8", ())


@contextmanager
def hospital(modalities: int) -> Iterator[Network]:
    """Modalities on Fast Ethernet, a switch, and the receiver on gigabit, until the block is left.

    Raises UnavailableError without root, or when the kernel lacks namespaces, veth, bridge or tbf.
    """
    with ExitStack() as stack:
        try:
            rooms = _build(stack, modalities)
        except (subprocess.SubprocessError, OSError) as error:
            raise UnavailableError(f"it needs root, veth, bridge, tbf ({_said(error)})") from error
        yield Network("LAN", RECEIVER, MODALITIES, [room.prefix for room in rooms])


def _build(stack: ExitStack, modalities: int) -> list[_Room]:
    """The modalities' rooms, with everything in place."""
    here = _Room(os.getpid(), [])
    switch, *rooms = (stack.enter_context(_kept_room()) for _ in range(modalities + 1))
    switch.run("ip", "link", "add", "switch", "type", "bridge")
    switch.run("ip", "link", "set", "switch", "up")
    _plug(here, PORT_NAME, RECEIVER, switch, "receiver", GIGABIT)
    # The kernel would take it away with the switch, but some time after: the next bench must not meet it.
    stack.callback(_remove, here)
    network = RECEIVER.rpartition(".")[0]
    for number, room in enumerate(rooms):
        _plug(room, "lan", f"{network}.{FIRST_MODALITY + number}", switch, f"modality-{number}", FAST)
    return rooms


@dataclass(frozen=True)
class _Room:
    """A network namespace, by a process that is in it."""

    pid: int
    prefix: list[str]

    def run(self, *words: str) -> None:
        """Runs a command of iproute2 in it; raises subprocess.SubprocessError."""
        command = [*self.prefix, *words]
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=_COMMAND_SECONDS)


@contextmanager
def _kept_room() -> Iterator[_Room]:
    # The line that it prints is the fact to wait for: before it, the process is in our namespace still.
    command = ["unshare", "--net", "sh", "-c", "echo ready && exec cat"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, text=True, stdin=pipe, stdout=pipe, stderr=pipe) as keeper:
        assert keeper.stdout is not None
        assert keeper.stderr is not None
        if not keeper.stdout.readline():
            raise subprocess.CalledProcessError(keeper.wait(), command, stderr=keeper.stderr.read())
        yield _Room(keeper.pid, ["nsenter", f"--net=/proc/{keeper.pid}/ns/net"])
        # Leaving the block closes the pipe that it reads from, and waits for it.


def _plug(room: _Room, port: str, address: str, switch: _Room, switch_port: str, speed: int) -> None:
    """A cable of `speed` Mbit/s from a port with that address to the switch."""
    peer = ["peer", "name", switch_port, "netns", str(switch.pid)]
    room.run("ip", "link", "add", port, "type", "veth", *peer)
    switch.run("ip", "link", "set", switch_port, "master", "switch")
    room.run("ip", "address", "add", f"{address}/24", "dev", port)
    # A millisecond of burst: time in which a sender waits for an answer is lost to it, as on a wire.
    shape = ["root", "tbf", "rate", f"{speed}mbit", "burst", str(speed * 125), "latency", _QUEUE]
    for end, name in ((room, port), (switch, switch_port)):
        end.run("tc", "qdisc", "add", "dev", name, *shape)
        end.run("ip", "link", "set", name, "up")


def _remove(here: _Room) -> None:
    with contextlib.suppress(subprocess.SubprocessError):
        here.run("ip", "link", "delete", PORT_NAME)


def _said(error: Exception) -> str:
    """The first line that the command printed, or what the system says."""
    printed = str(getattr(error, "stderr", None) or error)
    return printed.strip().partition("\n")[0]
