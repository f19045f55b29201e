"""Command sets of DIMSE messages, as values and as bytes (PS3.7 6.3, ch. 9, annex E).

A command set is group 0000 in implicit VR little endian. Elements that annex E does not list are ignored; a length
that runs out of the bytes, or a number of the wrong size, raises UpperLayerError. Text is not judged here: a UID of
10 kB arrives as such, and the service refuses it with the status that the standard has for it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from appliance.errors import UpperLayerError

COMMAND_BYTES_MAX: Final = 1 << 16  # the longest real one is under 400
NO_DATA_SET: Final = 0x0101  # PS3.7 E.1: any other value says that a data set follows
RESPONSE: Final = 0x8000  # this bit makes a command field that of a response


class Field(IntEnum):
    """Command fields of requests (PS3.7 E.1)."""

    C_STORE = 0x0001
    C_GET = 0x0010
    C_FIND = 0x0020
    C_MOVE = 0x0021
    C_ECHO = 0x0030
    N_EVENT_REPORT = 0x0100
    N_GET = 0x0110
    N_SET = 0x0120
    N_ACTION = 0x0130
    N_CREATE = 0x0140
    N_DELETE = 0x0150
    C_CANCEL = 0x0FFF


class Element(IntEnum):
    """Element numbers of group 0000 (PS3.7 E.1)."""

    GROUP_LENGTH = 0x0000
    AFFECTED_SOP_CLASS_UID = 0x0002
    REQUESTED_SOP_CLASS_UID = 0x0003
    COMMAND_FIELD = 0x0100
    MESSAGE_ID = 0x0110
    MESSAGE_ID_RESPONDED_TO = 0x0120
    MOVE_DESTINATION = 0x0600
    PRIORITY = 0x0700
    DATA_SET_TYPE = 0x0800
    STATUS = 0x0900
    OFFENDING_ELEMENT = 0x0901
    ERROR_COMMENT = 0x0902
    ERROR_ID = 0x0903
    AFFECTED_SOP_INSTANCE_UID = 0x1000
    REQUESTED_SOP_INSTANCE_UID = 0x1001
    EVENT_TYPE_ID = 0x1002
    ATTRIBUTE_IDENTIFIER_LIST = 0x1005
    ACTION_TYPE_ID = 0x1008
    REMAINING_SUBOPERATIONS = 0x1020
    COMPLETED_SUBOPERATIONS = 0x1021
    FAILED_SUBOPERATIONS = 0x1022
    WARNING_SUBOPERATIONS = 0x1023
    MOVE_ORIGINATOR_AE_TITLE = 0x1030
    MOVE_ORIGINATOR_MESSAGE_ID = 0x1031


_E = Element
_UIDS: Final = frozenset(
    {_E.AFFECTED_SOP_CLASS_UID, _E.REQUESTED_SOP_CLASS_UID, _E.AFFECTED_SOP_INSTANCE_UID, _E.REQUESTED_SOP_INSTANCE_UID}
)
_TEXTS: Final = frozenset({_E.MOVE_DESTINATION, _E.ERROR_COMMENT, _E.MOVE_ORIGINATOR_AE_TITLE})
_TAGS: Final = frozenset({_E.OFFENDING_ELEMENT, _E.ATTRIBUTE_IDENTIFIER_LIST})
_KNOWN: Final = frozenset(int(element) for element in Element) - {_E.GROUP_LENGTH}

Value = int | str | tuple[int, ...]


@dataclass(frozen=True, slots=True)
class CommandSet:
    """`values`: element number → number (US), text (UI, AE, LO; without padding) or tags (AT)."""

    values: Mapping[int, Value]

    def number(self, element: Element) -> int | None:
        """A US value, or None when it is absent."""
        value = self.values.get(element)
        return value if isinstance(value, int) else None

    def text(self, element: Element) -> str:
        """A text or UID, empty when it is absent."""
        value = self.values.get(element)
        return value if isinstance(value, str) else ""

    @property
    def field(self) -> int:
        """The command field: a `Field`, with the bit `RESPONSE` set in a response."""
        return self.number(Element.COMMAND_FIELD) or 0

    @property
    def message_id(self) -> int:
        """The number that the response must repeat."""
        return self.number(Element.MESSAGE_ID) or 0

    @property
    def has_data_set(self) -> bool:
        """Whether a data set follows in the same message."""
        return self.number(Element.DATA_SET_TYPE) != NO_DATA_SET


def decode(data: bytes | bytearray | memoryview) -> CommandSet:
    """The command set in these bytes. Raises UpperLayerError when they are none, or more than 64 KiB."""
    if len(data) > COMMAND_BYTES_MAX:
        raise UpperLayerError(f"A command set of {len(data)} bytes, over the limit of {COMMAND_BYTES_MAX}")
    values: dict[int, Value] = {}
    for element, raw in _elements(memoryview(data)):
        if element in values:
            raise UpperLayerError(f"A command set names (0000,{element:04X}) twice")
        if element in _KNOWN:
            values[element] = _value(element, raw)
    for needed in (Element.COMMAND_FIELD, Element.DATA_SET_TYPE):
        if needed not in values:
            raise UpperLayerError(f"A command set lacks (0000,{needed:04X})")
    return CommandSet(values)


def _elements(view: memoryview) -> Iterator[tuple[int, bytes]]:
    at, end = 0, len(view)
    while at < end:
        if end - at < 8:
            raise UpperLayerError("A command set ends inside the head of an element")
        group, element, length = _HEAD.unpack_from(view, at)
        at += 8
        if group:
            raise UpperLayerError(f"A command set holds an element of group {group:04X}")
        if length > end - at:
            raise UpperLayerError(f"An element of a command set claims {length} bytes of {end - at}")
        yield element, bytes(view[at : at + length])
        at += length


_HEAD: Final = struct.Struct("<HHL")


def _value(element: int, raw: bytes) -> Value:
    if element in _UIDS or element in _TEXTS:
        return raw.decode("ascii", "replace").strip("\0 ")
    if element in _TAGS:
        if len(raw) % 4:
            raise UpperLayerError(f"(0000,{element:04X}) is a list of tags of {len(raw)} bytes")
        words = struct.unpack(f"<{len(raw) // 2}H", raw)
        return tuple(group << 16 | number for group, number in zip(words[::2], words[1::2], strict=True))
    if len(raw) != 2:
        raise UpperLayerError(f"(0000,{element:04X}) is a number of {len(raw)} bytes, not 2")
    return int.from_bytes(raw, "little")


def encode(command: CommandSet) -> bytes:
    """The bytes of a command set, its group length first."""
    body = b"".join(_encode_element(element, value) for element, value in sorted(command.values.items()))
    return _HEAD.pack(0, 0, 4) + struct.pack("<L", len(body)) + body


def _encode_element(element: int, value: Value) -> bytes:
    if isinstance(value, tuple):
        raw = b"".join(struct.pack("<HH", tag >> 16, tag & 0xFFFF) for tag in value)
    elif isinstance(value, int):
        raw = struct.pack("<H", value)
    else:
        raw = value.encode("ascii", "replace")
        raw += (b"\0" if element in _UIDS else b" ") * (len(raw) % 2)
    return _HEAD.pack(0, element, len(raw)) + raw


def response(
    request: CommandSet, status: int, comment: str = "", *, data_set: bool = False, offending: int | None = None
) -> CommandSet:
    """The response to a request (PS3.7 9.3, 10.3): its UIDs are repeated when they fit on the wire.

    `comment` (PS3.7 C: Error Comment, LO) is cut at 64 characters; `offending` is the tag that is wrong. `data_set`:
    whether one follows.
    """
    values: dict[int, Value] = {
        Element.COMMAND_FIELD: request.field | RESPONSE,
        Element.MESSAGE_ID_RESPONDED_TO: request.message_id,
        Element.DATA_SET_TYPE: 0 if data_set else NO_DATA_SET,
        Element.STATUS: status,
    }
    for affected, requested in _REPEATED:
        uid = request.text(affected) or request.text(requested)
        if 0 < len(uid) <= 64:
            values[affected] = uid
    if comment:
        values[Element.ERROR_COMMENT] = comment[:64]
    if offending is not None:
        values[Element.OFFENDING_ELEMENT] = (offending,)
    return CommandSet(values)


_REPEATED: Final = (
    (Element.AFFECTED_SOP_CLASS_UID, Element.REQUESTED_SOP_CLASS_UID),
    (Element.AFFECTED_SOP_INSTANCE_UID, Element.REQUESTED_SOP_INSTANCE_UID),
)
