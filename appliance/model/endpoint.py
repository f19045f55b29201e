"""Where a peer is, as people write it: NAME:PORT, ADDRESS:PORT, [ADDRESS]:PORT. Nothing is looked up."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

_LABEL: Final = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?"
_HOST: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.ASCII)
_HOST_MAX: Final = 253  # RFC 1035 2.3.4, without the length bytes


def is_address(text: str) -> bool:
    """Whether it is an IPv4 or IPv6 address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def split_endpoint(text: str) -> tuple[str, int]:
    """Host (a name, or an address without brackets) and port. Raises ValueError that says what is wrong."""
    host, _, port = text.rpartition(":")
    if not re.fullmatch(r"[0-9]{1,5}", port, re.ASCII) or not 0 < int(port) < 65536:
        raise ValueError("must be NAME:PORT or ADDRESS:PORT, with a port from 1 to 65535")
    if host.startswith("[") and host.endswith("]"):
        if not is_address(host[1:-1]):
            raise ValueError(f"{host} is no IP address")
        return host[1:-1], int(port)
    if len(host) > _HOST_MAX or not _HOST.fullmatch(host):
        raise ValueError("must begin with a host's name, an address, or an IPv6 address in brackets")
    if re.fullmatch(r"[0-9.]+", host) and not is_address(host):
        raise ValueError(f"{host} is no IP address")
    return host, int(port)


def join_endpoint(address: str, port: int) -> str:
    """ADDRESS:PORT, with brackets around an IPv6 address."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
