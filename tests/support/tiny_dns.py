"""A name server of one name, to run in a namespace: `python tiny_dns.py ADDRESS FILE LOG`.

FILE holds the address to answer with, read at each query; when it is empty there is no such name, and when it is
missing nobody answers. LOG gets a line for each query: the address that asked, and the name.
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path


def answer(query: bytes, address: str) -> bytes:
    """A record for A questions; "no such name" when there is no address; nothing for other kinds."""
    end = query.index(b"\0", 12) + 5
    wants_a = query[end - 4 : end - 2] == b"\x00\x01"
    count, code = (1, 0) if address and wants_a else (0, 0 if address else 3)
    head = query[:2] + bytes([0x81, 0x80 | code]) + b"\0\x01" + bytes([0, count]) + b"\0\0\0\0"
    record = b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04" + socket.inet_aton(address) if count else b""
    return head + query[12:end] + record


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
