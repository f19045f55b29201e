"""The address of the tunnel's endpoint, asked for outside of the tunnel (DNS, RFC 1035; AAAA, RFC 3596).

The system's own resolver can't be told by which uplink to ask, and may answer from a cache of an hour ago. So this is
a small one: UDP to the name servers of the uplink, over a socket that the kernel holds to the device and the mark of
the uplink. A false answer costs time only: who answers there without the hub's key is not the hub.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
import struct
import time
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Final

from appliance.model.endpoint import is_address

_A: Final = 1
_AAAA: Final = 28
_IN: Final = 1
_KINDS: Final = {4: _A, 6: _AAAA}
_SIZES: Final = {_A: 4, _AAAA: 16}
_HEADER: Final = struct.Struct("!6H")
_RECORD: Final = struct.Struct("!HHIH")
_FLAGS_ASK: Final = 0x0100  # recursion desired
_ANSWER: Final = 0x8000
_CODE: Final = 0x000F
_MESSAGE_MAX: Final = 4096
_RECORDS_MAX: Final = 64
_ADDRESSES_MAX: Final = 8
_SERVERS_MAX: Final = 4
_PORT: Final = 53
_LOOPBACK_STUB: Final = Path("/run/systemd/resolve/resolv.conf")  # the servers behind systemd-resolved's 127.0.0.53


class LookUpError(Exception):
    """The name server says that it can't tell."""


def question(name: str, kind: int, number: int) -> bytes:
    """A query for the A (1) or AAAA (28) records of `name`. Raises ValueError for a name that can't be asked for."""
    labels = name.rstrip(".").split(".")
    coded = [label.encode("ascii") for label in labels]
    if not all(0 < len(label) < 64 for label in coded) or sum(len(label) + 1 for label in coded) > 254:
        raise ValueError("not a host's name")
    text = b"".join(bytes([len(label)]) + label for label in coded) + b"\0"
    return _HEADER.pack(number, _FLAGS_ASK, 1, 0, 0, 0) + text + struct.pack("!HH", kind, _IN)


def addresses_in(message: bytes, asked: bytes) -> list[str]:
    """The addresses in the answer to the query `asked`; none when there is no such name.

    Raises ValueError for what is no answer to it, or is damaged; LookUpError.
    """
    if len(message) < len(asked) or message[:2] != asked[:2]:
        raise ValueError("no answer to this query")
    _, flags, questions, answers, _, _ = _HEADER.unpack_from(message)
    if not flags & _ANSWER or questions != 1 or message[12 : len(asked)].lower() != asked[12:].lower():
        raise ValueError("no answer to this query")
    if flags & _CODE not in {0, 3}:  # 3: there is no such name
        raise LookUpError(f"the name server answers with an error ({flags & _CODE})")
    wanted = struct.unpack_from("!H", asked, len(asked) - 4)[0]
    found, at = [], len(asked)
    for _ in range(min(answers, _RECORDS_MAX)):
        at = _after_name(message, at)
        if at + _RECORD.size > len(message):
            raise ValueError("cut short")
        kind, group, _, size = _RECORD.unpack_from(message, at)
        data = message[at + _RECORD.size : at + _RECORD.size + size]
        at += _RECORD.size + size
        if kind == wanted and group == _IN and len(data) == size == _SIZES[kind]:
            found.append(str(ip_address(data)))
    return found[:_ADDRESSES_MAX]


def _after_name(message: bytes, at: int) -> int:
    """The offset behind a name. A pointer ends it; it is not followed, as only its length matters here."""
    while at < len(message):
        length = message[at]
        if length >= 0xC0:
            return at + 2
        if length >= 0x40:
            break
        at += 1 + length
        if length == 0:
            return at
    raise ValueError("cut short")


def servers_in(text: str) -> list[str]:
    """The addresses of name servers in the text of a resolv.conf."""
    words = [line.split() for line in text.splitlines()]
    named = [line[1].partition("%")[0] for line in words if len(line) > 1 and line[0] == "nameserver"]
    return [address for address in named if is_address(address)][:_SERVERS_MAX]


def in_hosts(text: str, name: str) -> list[str]:
    """The addresses of `name` in the text of a hosts file, in its order."""
    lines = [line.partition("#")[0].split() for line in text.splitlines()]
    wanted = name.lower().rstrip(".")
    named = [line[0] for line in lines if line and is_address(line[0]) and wanted in map(str.lower, line[1:])]
    return [str(ip_address(address)) for address in named]


def system_servers(etc: Path = Path("/etc"), behind: Path = _LOOPBACK_STUB) -> list[str]:
    """The name servers that this machine was given; for one on loopback, which asks on in a way of its own, its own."""
    found = servers_in(_read(etc / "resolv.conf"))
    outside = [address for address in found if not ip_address(address).is_loopback]
    return outside or servers_in(_read(behind))


def own_hosts(name: str, etc: Path = Path("/etc")) -> list[str]:
    """What the machine's own hosts file says of a name."""
    return in_hosts(_read(etc / "hosts"), name)


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", errors="replace")
    except OSError:
        return ""


def ask(name: str, server: str, version: int, *, device: str, mark: int = 0, seconds: float = 3.0) -> list[str]:
    """The addresses of `name` (`version` 4 or 6) that one name server knows, over `device` and nothing else.

    Raises OSError when nobody answers in time, LookUpError. What is no answer is passed over. Needs CAP_NET_ADMIN for
    a mark.
    """
    asked = question(name, _KINDS[version], secrets.randbelow(1 << 16))
    address = ip_address(server)
    family = socket.AF_INET if isinstance(address, IPv4Address) else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode() + b"\0")
        if mark:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
        sock.connect((server, _PORT))  # so that the kernel takes answers of this server alone
        deadline = time.monotonic() + seconds
        sock.send(asked)
        while True:
            sock.settimeout(max(0.001, deadline - time.monotonic()))
            with contextlib.suppress(ValueError):
                return addresses_in(sock.recv(_MESSAGE_MAX), asked)


def of_version(addresses: Sequence[str], version: int) -> list[str]:
    """Those of IPv4 or of IPv6."""
    kind = IPv4Address if version == 4 else IPv6Address
    return [address for address in addresses if isinstance(ip_address(address), kind)]
