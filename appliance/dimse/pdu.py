"""Protocol data units of the DICOM upper layer, as values and as bytes (PS3.8 9.3).

Strict where a length or a type could hurt: every item must end inside its parent, and the caller checks a PDU's
length with `parse_header` before it reads a byte of the body. Lenient where devices differ without harm: padding of
UIDs, reserved bytes, unknown items (PS3.8 9.3.1 says to ignore them). Anything else raises UpperLayerError.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from appliance.errors import UpperLayerError

HEADER_SIZE: Final = 6
PDV_HEADER_SIZE: Final = 6  # length, context id, message control header
APPLICATION_CONTEXT: Final = "1.2.840.10008.3.1.1.1"  # PS3.7 A.2.1
ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ, P_DATA, RELEASE_RQ, RELEASE_RP, ABORT = range(1, 8)

_UID_MAX: Final = 64
_CONTEXTS_MAX: Final = 128  # odd numbers of one byte
_APPLICATION_ITEM, _CONTEXT_RQ_ITEM, _CONTEXT_AC_ITEM = 0x10, 0x20, 0x21
_ABSTRACT_ITEM, _TRANSFER_ITEM, _USER_ITEM = 0x30, 0x40, 0x50
_MAX_LENGTH_ITEM, _CLASS_UID_ITEM, _VERSION_ITEM = 0x51, 0x52, 0x55


@dataclass(frozen=True, slots=True)
class ProposedContext:
    """A presentation context of a request: an odd number, what, and in which encodings."""

    id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ContextResult:
    """The answer to a proposed context (PS3.8 9.3.3.2): 0 accepted, 1 user, 2 no reason, 3 abstract, 4 transfer."""

    id: int
    result: int
    transfer_syntax: str


@dataclass(frozen=True, slots=True)
class UserInformation:
    """User information (PS3.8 annex D): `max_length` 0 means no limit; `other` are sub-items as (type, bytes)."""

    max_length: int = 0
    implementation_class_uid: str = ""
    implementation_version_name: str = ""
    other: tuple[tuple[int, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class AssociateRequest:
    """A-ASSOCIATE-RQ (PS3.8 9.3.2). AE titles come without their padding."""

    called_ae: str
    calling_ae: str
    contexts: tuple[ProposedContext, ...]
    user: UserInformation = field(default_factory=UserInformation)
    application_context: str = APPLICATION_CONTEXT
    protocol_version: int = 1


@dataclass(frozen=True, slots=True)
class AssociateAccept:
    """A-ASSOCIATE-AC (PS3.8 9.3.3). The AE titles repeat those of the request."""

    called_ae: str
    calling_ae: str
    results: tuple[ContextResult, ...]
    user: UserInformation = field(default_factory=UserInformation)
    application_context: str = APPLICATION_CONTEXT
    protocol_version: int = 1


@dataclass(frozen=True, slots=True)
class AssociateReject:
    """A-ASSOCIATE-RJ (PS3.8 9.3.4)."""

    result: int
    source: int
    reason: int


@dataclass(frozen=True, slots=True)
class PresentationValue:
    """One fragment of a message (PS3.8 9.3.5.1, annex E). `data` may be a view of a buffer that is used again."""

    context_id: int
    is_command: bool
    is_last: bool
    data: bytes | memoryview


@dataclass(frozen=True, slots=True)
class DataTransfer:
    """P-DATA-TF (PS3.8 9.3.5)."""

    values: tuple[PresentationValue, ...]


@dataclass(frozen=True, slots=True)
class ReleaseRequest:
    """A-RELEASE-RQ (PS3.8 9.3.6)."""


@dataclass(frozen=True, slots=True)
class ReleaseReply:
    """A-RELEASE-RP (PS3.8 9.3.7)."""


@dataclass(frozen=True, slots=True)
class Abort:
    """A-ABORT (PS3.8 9.3.8). Source 0: service user, 2: service provider."""

    source: int
    reason: int = 0


Pdu = AssociateRequest | AssociateAccept | AssociateReject | DataTransfer | ReleaseRequest | ReleaseReply | Abort


def parse_header(head: bytes | memoryview, length_max: int) -> tuple[int, int]:
    """Type and body length in bytes of the PDU that starts with these 6 bytes.

    Raises UpperLayerError for an unknown type, for a body over `length_max`, and for a wrong length where the type
    fixes it: so a stranger's claim is judged before anything is read or allocated for it.
    """
    kind, _, length = struct.unpack_from(">BBL", head)
    if not ASSOCIATE_RQ <= kind <= ABORT:
        raise UpperLayerError(f"There is no PDU of type {kind}")
    if kind in _FIXED and length != 4:
        raise UpperLayerError(f"A PDU of type {kind} claims {length} bytes, not 4")
    if length > length_max:
        raise UpperLayerError(f"A PDU claims {length} bytes, over the limit of {length_max}")
    return kind, length


_FIXED: Final = frozenset({ASSOCIATE_RJ, RELEASE_RQ, RELEASE_RP, ABORT})


def decode(kind: int, body: bytes | memoryview) -> Pdu:
    """The PDU of this type with this body. Raises UpperLayerError. Fragments of P-DATA are views of `body`."""
    view = memoryview(body)
    if kind in _FIXED and len(view) != 4:
        raise UpperLayerError(f"A PDU of type {kind} has {len(view)} bytes, not 4")
    if kind not in _DECODERS:
        raise UpperLayerError(f"There is no PDU of type {kind}")
    return _DECODERS[kind](view)


def presentation_values(body: memoryview) -> Iterator[PresentationValue]:
    """The fragments in the body of a P-DATA-TF, without copying them. Raises UpperLayerError."""
    at, end = 0, len(body)
    if not end:
        raise UpperLayerError("A P-DATA-TF holds no presentation data value")
    while at < end:
        if end - at < PDV_HEADER_SIZE:
            raise UpperLayerError("A P-DATA-TF ends inside the head of a presentation data value")
        length, context_id, control = _PDV.unpack_from(body, at)
        stop = at + 4 + length
        if length < 2 or stop > end:
            raise UpperLayerError(f"A presentation data value claims {length} bytes of {end - at - 4}")
        yield PresentationValue(context_id, bool(control & 1), bool(control & 2), body[at + PDV_HEADER_SIZE : stop])
        at = stop


_PDV: Final = struct.Struct(">LBB")


def encode(pdu: Pdu) -> bytes:
    """The bytes of a PDU, header included. Raises UpperLayerError for a value that the wire has no form for."""
    if isinstance(pdu, DataTransfer):
        kind, body = P_DATA, b"".join(_encode_value(value) for value in pdu.values)
    elif isinstance(pdu, AssociateRequest):
        kind, body = ASSOCIATE_RQ, _encode_associate(pdu, [_encode_proposed(context) for context in pdu.contexts])
    elif isinstance(pdu, AssociateAccept):
        kind, body = ASSOCIATE_AC, _encode_associate(pdu, [_encode_result(result) for result in pdu.results])
    elif isinstance(pdu, AssociateReject):
        kind, body = ASSOCIATE_RJ, bytes((0, pdu.result, pdu.source, pdu.reason))
    elif isinstance(pdu, Abort):
        kind, body = ABORT, bytes((0, 0, pdu.source, pdu.reason))
    else:
        kind, body = RELEASE_RQ if isinstance(pdu, ReleaseRequest) else RELEASE_RP, bytes(4)
    return struct.pack(">BBL", kind, 0, len(body)) + body


def _encode_value(value: PresentationValue) -> bytes:
    control = value.is_command | value.is_last << 1
    return _PDV.pack(len(value.data) + 2, value.context_id, control) + value.data


def _encode_associate(pdu: AssociateRequest | AssociateAccept, contexts: list[bytes]) -> bytes:
    head = struct.pack(">HH", pdu.protocol_version, 0) + _ae(pdu.called_ae) + _ae(pdu.calling_ae) + bytes(32)
    return head + _item(_APPLICATION_ITEM, _uid(pdu.application_context)) + b"".join(contexts) + _encode_user(pdu.user)


def _encode_proposed(context: ProposedContext) -> bytes:
    body = bytes((context.id, 0, 0, 0)) + _item(_ABSTRACT_ITEM, _uid(context.abstract_syntax))
    return _item(_CONTEXT_RQ_ITEM, body + b"".join(_item(_TRANSFER_ITEM, _uid(u)) for u in context.transfer_syntaxes))


def _encode_result(result: ContextResult) -> bytes:
    body = bytes((result.id, 0, result.result, 0)) + _item(_TRANSFER_ITEM, _uid(result.transfer_syntax))
    return _item(_CONTEXT_AC_ITEM, body)


def _encode_user(user: UserInformation) -> bytes:
    items = _item(_MAX_LENGTH_ITEM, struct.pack(">L", user.max_length))
    if user.implementation_class_uid:
        items += _item(_CLASS_UID_ITEM, _uid(user.implementation_class_uid))
    # PS3.7 D.3.3 wants rising item types; role selection (0x54) comes before the version name (0x55).
    named = (
        [(_VERSION_ITEM, user.implementation_version_name.encode("ascii"))] if user.implementation_version_name else []
    )
    items += b"".join(_item(kind, data) for kind, data in sorted([*user.other, *named], key=lambda item: item[0]))
    return _item(_USER_ITEM, items)


def _item(kind: int, body: bytes) -> bytes:
    if len(body) > 0xFFFF:
        raise UpperLayerError("An item of an association request or answer is over 65535 bytes")
    return struct.pack(">BBH", kind, 0, len(body)) + body


def _uid(uid: str) -> bytes:
    return uid.encode("ascii")


def _ae(title: str) -> bytes:
    raw = title.encode("latin-1", "replace")
    if len(raw) > 16:
        raise UpperLayerError("An AE title has at most 16 characters (PS3.8 9.3.2)")
    return raw.ljust(16)


def _items(view: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Type and body of each item; every one must end inside `view`."""
    at, end = 0, len(view)
    while at < end:
        if end - at < 4:
            raise UpperLayerError("A PDU ends inside the head of an item")
        kind, _, length = struct.unpack_from(">BBH", view, at)
        at += 4
        if at + length > end:
            raise UpperLayerError(f"An item claims {length} bytes of {end - at}")
        yield kind, view[at : at + length]
        at += length


def _read_uid(view: memoryview) -> str:
    if len(view) > _UID_MAX + 1:  # one pad byte more does no harm
        raise UpperLayerError(f"A UID of {len(view)} bytes in an association request")
    try:
        return bytes(view).decode("ascii").strip("\0 ")
    except UnicodeDecodeError as error:
        raise UpperLayerError("A UID with bytes that are not ASCII in an association request") from error


def _read_ae(view: memoryview) -> str:
    return bytes(view).decode("latin-1").strip(" \0")


def _associate_head(view: memoryview) -> tuple[int, str, str, memoryview]:
    """Protocol version, called and calling AE title, and the items."""
    if len(view) < 68:
        raise UpperLayerError("An association request or answer ends before its items")
    (version,) = struct.unpack_from(">H", view)
    return version, _read_ae(view[4:20]), _read_ae(view[20:36]), view[68:]


def _decode_request(view: memoryview) -> AssociateRequest:
    version, called, calling, rest = _associate_head(view)
    application, user, contexts = "", UserInformation(), list[ProposedContext]()
    for kind, body in _items(rest):
        if kind == _APPLICATION_ITEM:
            application = _read_uid(body)
        elif kind == _CONTEXT_RQ_ITEM:
            contexts.append(_decode_proposed(body))
        elif kind == _USER_ITEM:
            user = _decode_user(body)
    ids = [context.id for context in contexts]
    if len(ids) > _CONTEXTS_MAX or len(set(ids)) != len(ids):
        raise UpperLayerError("An association request names a presentation context twice")
    return AssociateRequest(called, calling, tuple(contexts), user, application, version)


def _context_id(body: memoryview) -> int:
    if len(body) < 4:
        raise UpperLayerError("A presentation context item ends before its sub-items")
    if not body[0] & 1:
        raise UpperLayerError(f"Presentation context {body[0]} is not an odd number")
    return body[0]


def _decode_proposed(body: memoryview) -> ProposedContext:
    number, abstract, transfers = _context_id(body), "", list[str]()
    for kind, item in _items(body[4:]):
        if kind == _ABSTRACT_ITEM:
            abstract = _read_uid(item)
        elif kind == _TRANSFER_ITEM:
            transfers.append(_read_uid(item))
    return ProposedContext(number, abstract, tuple(transfers))


def _decode_accept(view: memoryview) -> AssociateAccept:
    version, called, calling, rest = _associate_head(view)
    application, user, results = "", UserInformation(), list[ContextResult]()
    for kind, body in _items(rest):
        if kind == _APPLICATION_ITEM:
            application = _read_uid(body)
        elif kind == _CONTEXT_AC_ITEM:
            transfer = [_read_uid(item) for sub, item in _items(body[4:]) if sub == _TRANSFER_ITEM]
            results.append(ContextResult(_context_id(body), body[2], transfer[0] if transfer else ""))
        elif kind == _USER_ITEM:
            user = _decode_user(body)
    return AssociateAccept(called, calling, tuple(results), user, application, version)


def _decode_user(body: memoryview) -> UserInformation:
    max_length, class_uid, version, other = 0, "", "", list[tuple[int, bytes]]()
    for kind, item in _items(body):
        if kind == _MAX_LENGTH_ITEM:
            if len(item) != 4:
                raise UpperLayerError("The maximum length item has not 4 bytes")
            (max_length,) = struct.unpack(">L", item)
        elif kind == _CLASS_UID_ITEM:
            class_uid = _read_uid(item)
        elif kind == _VERSION_ITEM:
            version = bytes(item[:16]).decode("ascii", "replace").strip(" \0")
        else:
            other.append((kind, bytes(item)))
    return UserInformation(max_length, class_uid, version, tuple(other))


_DECODERS: Final[dict[int, Callable[[memoryview], Pdu]]] = {
    ASSOCIATE_RQ: _decode_request,
    ASSOCIATE_AC: _decode_accept,
    ASSOCIATE_RJ: lambda body: AssociateReject(body[1], body[2], body[3]),
    P_DATA: lambda body: DataTransfer(tuple(presentation_values(body))),
    RELEASE_RQ: lambda _: ReleaseRequest(),
    RELEASE_RP: lambda _: ReleaseReply(),
    ABORT: lambda body: Abort(body[2], body[3]),
}
