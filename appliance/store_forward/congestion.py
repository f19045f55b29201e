"""BBR on the connections to the hub, and how it is kept from standing still.

Cubic takes each packet that a radio link loses for a full line; BBR does not (docs/decisions/0004). But when it has not
seen its shortest round trip for ten seconds, BBR lets the line run empty for a round trip and 0.2 s to measure it again
(PROBE_RTT): a tenth of a satellite line. The queue behind a body is kept short here already (`link.pace`), so nothing
is learnt by that. Choosing BBR anew starts its ten seconds anew and keeps the connection's window.
"""

from __future__ import annotations

import contextlib
import socket
from typing import Any, Final

RENEW_SECONDS: Final = 8.0  # under the ten of net/ipv4/tcp_bbr.c, with room for a late sample
_BBR: Final = b"bbr"
_NAME_BYTES: Final = 16  # TCP_CA_NAME_MAX


def choose(sock: Any) -> None:
    """BBR, where the kernel has it; a kernel without it uses its default, which works too."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, _BBR)


def renew(sock: Any) -> None:
    """Starts BBR's ten seconds anew. Nothing is done to a connection that is closed or does not use BBR."""
    with contextlib.suppress(OSError):
        if name(sock) == _BBR:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")  # the one that every kernel has
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, _BBR)


def name(sock: Any) -> bytes:
    """The algorithm in use. Raises OSError when the socket is closed."""
    found: bytes = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, _NAME_BYTES)
    return found.split(b"\0", 1)[0]
