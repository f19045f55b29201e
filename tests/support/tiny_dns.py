"""A name server of one name, to run in a namespace: `python tiny_dns.py ADDRESS FILE LOG`.

FILE holds the addresses to answer with, read at each query; when it is empty there is no such name, and when it is
missing nobody answers. LOG gets a line for each query: the address that asked, and the name.
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path


def answer(query: bytes, addresses: str) -> bytes:
    """Records for A and AAAA questions; "no such name" when there is no address; nothing for other kinds."""
    end = query.index(b"\0", 12) + 5
    kind = query[end - 4 : end - 2]
    family = {b"\0\x01": socket.AF_INET, b"\0\x1c": socket.AF_INET6}.get(kind)
    mine = [a for a in addresses.split() if family is (socket.AF_INET6 if ":" in a else socket.AF_INET)]
    head = query[:2] + bytes([0x81, 0x80 | (0 if addresses else 3)]) + b"\0\x01" + bytes([0, len(mine)]) + b"\0\0\0\0"
    records = b""
    for address in mine if family else ():
        data = socket.inet_pton(family, address)
        records += b"\xc0\x0c" + kind + b"\0\x01\0\0\0\x3c\0" + bytes([len(data)]) + data
    return head + query[12:end] + records


def name_in(query: bytes) -> str:
    """The name that is asked for."""
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode("ascii", "replace"))
        at += 1 + query[at]
    return ".".join(labels)


def serve(address: str, file: Path, log: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((address, 53))
        while True:
            query, (asker, asker_port) = sock.recvfrom(512)
            with log.open("a") as lines:
                lines.write(f"{asker} {name_in(query)}\n")
            if file.exists():
                sock.sendto(answer(query, file.read_text().strip()), (asker, asker_port))


if __name__ == "__main__":
    serve(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
