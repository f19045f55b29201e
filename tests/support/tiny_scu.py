"""A C-STORE client in plain sockets: starts in a millisecond, and will say whatever a test wants it to say.

Only what the tests need of PS3.8 and PS3.7: one association, a presentation context for each (SOP class, transfer
syntax), one operation at a time.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Final, Self

from support.tiny_instances import EXPLICIT_LITTLE, SECONDARY_CAPTURE, TinyInstance

VERIFICATION: Final = "1.2.840.10008.1.1"
IMPLICIT_LITTLE: Final = "1.2.840.10008.1.2"
_APPLICATION: Final = b"1.2.840.10008.3.1.1.1"
Context = tuple[str, str]


class AssociationRefusedError(ConnectionError):
    """The peer answered with A-ASSOCIATE-RJ or A-ABORT."""


def pdu(kind: int, body: bytes) -> bytes:
    """One PDU (PS3.8 9.3.1)."""
    return struct.pack(">BBL", kind, 0, len(body)) + body


def item(kind: int, body: bytes) -> bytes:
    """One item of an association request (PS3.8 9.3.2)."""
    return struct.pack(">BBH", kind, 0, len(body)) + body


def association_request(
    contexts: Sequence[Context], *, calling: bytes = b"TEST", called: bytes = b"APPLIANCE"
) -> bytes:
    """A-ASSOCIATE-RQ that offers `contexts` under the ids 1, 3, 5, …"""
    body = struct.pack(">HH16s16s32x", 1, 0, called.ljust(16), calling.ljust(16)) + item(0x10, _APPLICATION)
    for number, (sop_class, syntax) in enumerate(contexts):
        names = item(0x30, sop_class.encode()) + item(0x40, syntax.encode())
        body += item(0x20, struct.pack(">BBBB", 2 * number + 1, 0, 0, 0) + names)
    user = item(0x51, struct.pack(">L", 1 << 17)) + item(0x52, b"2.25.99")
    return pdu(0x01, body + item(0x50, user))


def command_set(elements: Iterable[tuple[int, bytes]]) -> bytes:
    """A command set (PS3.7 6.3.1): group 0, implicit VR little endian, with its length first."""
    body = b"".join(struct.pack("<HHL", 0, number, len(value)) + value for number, value in elements)
    return struct.pack("<HHLL", 0, 0, 4, len(body)) + body


def store_request(instance: TinyInstance, message: int = 1) -> bytes:
    """The command set of a C-STORE-RQ (PS3.7 9.3.1.1)."""
    return command_set(
        [
            (0x0002, _uid(instance.sop_class_uid)),
            (0x0100, struct.pack("<H", 0x0001)),
            (0x0110, struct.pack("<H", message & 0xFFFF)),
            (0x0700, struct.pack("<H", 0)),
            (0x0800, struct.pack("<H", 1)),
            (0x1000, _uid(instance.sop_instance_uid)),
        ]
    )


def echo_request(message: int = 1) -> bytes:
    """The command set of a C-ECHO-RQ (PS3.7 9.3.5.1)."""
    fields = [(0x0100, 0x0030), (0x0110, message), (0x0800, 0x0101)]
    return command_set([(0x0002, _uid(VERIFICATION)), *((n, struct.pack("<H", v)) for n, v in fields)])


def data_pdus(context: int, data: bytes, *, command: bool, largest: int = 16000) -> bytes:
    """P-DATA-TF PDUs that carry `data` in one PDV each (PS3.8 9.3.5)."""
    parts = [data[at : at + largest] for at in range(0, len(data), largest)] or [b""]
    pdus = []
    for number, part in enumerate(parts):
        flags = (1 if command else 0) | (2 if number == len(parts) - 1 else 0)
        pdus.append(pdu(0x04, struct.pack(">LBB", len(part) + 2, context, flags) + part))
    return b"".join(pdus)


class TinyScu:
    """One association. Raises AssociationRefusedError, or OSError when the connection fails."""

    def __init__(
        self,
        port: int,
        *,
        contexts: Sequence[Context] = ((SECONDARY_CAPTURE, EXPLICIT_LITTLE), (VERIFICATION, IMPLICIT_LITTLE)),
        calling: bytes = b"TEST",
        called: bytes = b"APPLIANCE",
        host: str = "127.0.0.1",
        source: str = "",
        seconds: float = 10.0,
    ) -> None:
        self._ids = {context: 2 * number + 1 for number, context in enumerate(contexts)}
        self._messages = 0
        self.socket = socket.create_connection((host, port), seconds, (source, 0) if source else None)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self.socket.sendall(association_request(contexts, calling=calling, called=called))
            kind, _ = self._read_pdu()
        except BaseException:
            self.socket.close()
            raise
        if kind != 0x02:
            self.socket.close()
            raise AssociationRefusedError(f"PDU type {kind:#x} in answer to the association request")

    def store(self, instance: TinyInstance) -> int:
        """The status of the C-STORE response (PS3.7 9.3.1.2)."""
        context = self._ids[instance.sop_class_uid, instance.transfer_syntax_uid]
        self._messages += 1
        command = store_request(instance, self._messages)
        self.socket.sendall(
            data_pdus(context, command, command=True) + data_pdus(context, instance.data, command=False)
        )
        return self._status()

    def echo(self) -> int:
        """The status of the C-ECHO response."""
        self._messages += 1
        context = self._ids[VERIFICATION, IMPLICIT_LITTLE]
        self.socket.sendall(data_pdus(context, echo_request(self._messages), command=True))
        return self._status()

    def release(self) -> None:
        """A-RELEASE, and its answer."""
        self.socket.sendall(pdu(0x05, bytes(4)))
        self._read_pdu()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.socket.close()

    def _status(self) -> int:
        kind, body = self._read_pdu()
        if kind != 0x04:
            raise AssociationRefusedError(f"PDU type {kind:#x} in answer to a request")
        at, end = 6, len(body)  # one PDV: length, context, flags
        while at + 8 <= end:
            group, number, length = struct.unpack_from("<HHL", body, at)
            if (group, number) == (0x0000, 0x0900):
                return int(struct.unpack_from("<H", body, at + 8)[0])
            at += 8 + length
        raise ConnectionError("a response without a status")

    def _read_pdu(self) -> tuple[int, bytes]:
        head = self._read(6)
        return head[0], self._read(struct.unpack(">L", head[2:])[0])

    def _read(self, count: int) -> bytes:
        found = b""
        while len(found) < count:
            more = self.socket.recv(count - len(found))
            if not more:
                raise ConnectionError("the peer closed the connection")
            found += more
        return found


def _uid(text: str) -> bytes:
    raw = text.encode("utf-8", "surrogateescape")
    return raw + b"\0" * (len(raw) % 2)
