"""Listens at a tunnel's interface to what leaves by it, and counts what went twice, to the byte.

Run as a program in the namespace of the site. Over its control socket it tells, since it began: bytes of TCP that left
(`payload`), of these the ones that TCP sent again (`again`), the bytes of parcels (`parcels`), and the bytes of parcels
that a later request sent again (`resent`).
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import struct
import sys
from pathlib import Path
from typing import Final

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness import control
from harness.stream import Connection, Uploads

_ETHERTYPE_IPV4: Final = 0x0800
_ETHERTYPE_ALL: Final = 0x0003
_OUTGOING: Final = 4  # PACKET_OUTGOING of packet(7)
_TCP: Final = 6
_SYN: Final = 0x02
_BUFFER: Final = 32 << 20
_FORCE_RCVBUF: Final = 33  # SO_RCVBUFFORCE

Flow = tuple[bytes, bytes]  # addresses, ports


class Tap:
    """All connections that were seen."""

    def __init__(self) -> None:
        self._open: dict[Flow, Connection] = {}
        self._all: list[Connection] = []
        self._uploads = Uploads()

    def take(self, packet: bytes) -> None:
        """An IPv4 packet that leaves."""
        header = (packet[0] & 0x0F) * 4
        if packet[9] != _TCP or len(packet) < header + 20:
            return
        flow = (packet[12:20], packet[header : header + 4])
        sequence, _, offset, flags = struct.unpack_from("!IIBB", packet, header + 4)
        payload = packet[header + (offset >> 4) * 4 : int.from_bytes(packet[2:4], "big")]
        if flags & _SYN or flow not in self._open:
            if flags & _SYN and flow in self._open and not self._open[flow].new:
                return  # the same call once more
            self._open[flow] = Connection((sequence + bool(flags & _SYN)) % 0x1_0000_0000, self._uploads)
            self._all.append(self._open[flow])
        self._open[flow].take(sequence, payload)

    def facts(self) -> control.Answer:
        """What left until now."""
        new, again = sum(one.new for one in self._all), sum(one.again for one in self._all)
        once, resent = self._uploads.totals()
        return {
            "connections": len(self._all),
            "payload": new + again,
            "again": again,
            "parcels": once,
            "resent": resent,
        }


async def _run(interface: str, path: Path) -> None:
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
    opened.setsockopt(socket.SOL_SOCKET, _FORCE_RCVBUF, _BUFFER)
    opened.bind((interface, _ETHERTYPE_ALL))
    opened.setblocking(False)
    tap = Tap()

    def read() -> None:
        packet, (_, kind, way, *_) = opened.recvfrom(65536)
        if kind == _ETHERTYPE_IPV4 and way == _OUTGOING:
            tap.take(packet)

    asyncio.get_running_loop().add_reader(opened, read)
    await control.serve(path, lambda _: tap.facts())
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--interface", required=True, metavar="NAME", help="the tunnel's interface")
    parser.add_argument("--control", required=True, type=Path, metavar="PATH", help="socket to ask it")
    options = parser.parse_args()
    asyncio.run(_run(options.interface, options.control))
