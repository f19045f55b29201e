"""A C-FIND client in plain sockets: it sends any bytes as an identifier, and reads one response at a time."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from support.tiny_scu import TinyScu, command_set, data_pdus

STUDY_ROOT: Final = "1.2.840.10008.5.1.4.1.2.2.1"
EXPLICIT: Final = "1.2.840.10008.1.2.1"


@dataclass(frozen=True)
class Response:
    """Of one message: its command elements, and its data set."""

    elements: dict[int, bytes]
    data: bytes

    @property
    def status(self) -> int:
        return int(struct.unpack("<H", self.elements[0x0900])[0])

    @property
    def offending(self) -> int | None:
        raw = self.elements.get(0x0901)
        return None if raw is None else int.from_bytes(raw[:2], "little") << 16 | int.from_bytes(raw[2:], "little")


class AskingScu(TinyScu):
    """One association for C-FIND in Study Root and explicit VR."""

    def __init__(self, port: int, *, calling: bytes = b"VIEWER", called: bytes = b"HUB") -> None:
        super().__init__(port, contexts=((STUDY_ROOT, EXPLICIT),), calling=calling, called=called)

    def begin(self, identifier: bytes | None, message: int = 7, *, cancelled: int | None = None) -> None:
        """Sends a C-FIND-RQ; without an identifier it says that there is none. With `cancelled` a C-CANCEL-RQ of that
        message comes in the same breath.
        """
        fields = [(0x0100, 0x0020), (0x0110, message), (0x0700, 0), (0x0800, 1 if identifier is not None else 0x0101)]
        command = command_set([(2, STUDY_ROOT.encode()), *((number, struct.pack("<H", v)) for number, v in fields)])
        whole = data_pdus(1, command, command=True)
        if identifier is not None:
            whole += data_pdus(1, identifier, command=False)
        self.socket.sendall(whole + (_cancel(cancelled) if cancelled is not None else b""))

    def cancel(self, message: int = 7) -> None:
        """Sends a C-CANCEL-RQ."""
        self.socket.sendall(_cancel(message))

    def response(self) -> Response:
        """The next one."""
        elements, at, raw = dict[int, bytes](), 0, self._message(command=True)
        while at < len(raw):
            _, number, length = struct.unpack_from("<HHL", raw, at)
            elements[number] = raw[at + 8 : at + 8 + length]
            at += 8 + length
        has_data = elements[0x0800] != b"\x01\x01"
        return Response(elements, self._message(command=False) if has_data else b"")

    def ask(self, identifier: bytes | None) -> list[Response]:
        """All responses to it."""
        self.begin(identifier)
        found = [self.response()]
        while found[-1].status in {0xFF00, 0xFF01}:
            found.append(self.response())
        return found

    def _message(self, *, command: bool) -> bytes:
        whole = b""
        while True:
            kind, body = self._read_pdu()
            assert kind == 0x04, f"PDU type {kind:#x}"
            flags = body[5]
            assert bool(flags & 1) is command
            whole += body[6:]
            if flags & 2:
                return whole


def _cancel(message: int) -> bytes:
    """PS3.7 9.3.2.3."""
    fields = ((0x0100, 0x0FFF), (0x0120, message), (0x0800, 0x0101))
    return data_pdus(1, command_set([(number, struct.pack("<H", value)) for number, value in fields]), command=True)
