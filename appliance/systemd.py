"""Tells the service manager how this process is (sd_notify). Without a manager it does nothing.

`READY=1` when the listeners are bound and the queue is open, `STATUS=` in words, `WATCHDOG=1` only after work made
progress: see sd_notify(3).
"""

from __future__ import annotations

import os
import socket


def notify(*lines: str) -> None:
    """Sends `lines` (`READY=1`, `STATUS=7 queued`, …) to the socket that the service manager gave us, if any."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        name = "\0" + address[1:] if address.startswith("@") else address
        try:
            sender.sendto("\n".join(lines).encode(), name)
        except OSError:
            return  # the manager went away; the work is the same without it
