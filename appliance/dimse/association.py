"""The acceptor's side of an association, sans-I/O: PDUs in, events and bytes out (PS3.8 9.2).

`TRANSITIONS` is the whole machine. What the peer may not do in a state has no row; it is answered with an A-ABORT.
The names are ours; PS3.8 table 9-10 has the numbers in the comments.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from appliance.dimse import command, pdu
from appliance.dimse.command import COMMAND_BYTES_MAX, CommandSet
from appliance.dimse.negotiation import Context, Offer, accepted, negotiate
from appliance.dimse.pdu import Abort, AssociateReject, AssociateRequest, PresentationValue, UserInformation
from appliance.errors import UpperLayerError
from appliance.part10.meta import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

_SMALLEST_PDU: Final = 1024  # a peer that claims to take less would make us send thousands of crumbs


class State(StrEnum):
    AWAITING_REQUEST = "awaiting request"  # Sta2
    DECIDING = "deciding"  # Sta3
    OPEN = "open"  # Sta6
    RELEASING = "releasing"  # Sta8
    CLOSING = "closing"  # Sta13: nothing more is said; the connection is to be closed


class Input(StrEnum):
    REQUEST = "A-ASSOCIATE-RQ"
    DATA = "P-DATA-TF"
    RELEASE = "A-RELEASE-RQ"
    PEER_ABORT = "A-ABORT"
    WE_ACCEPT = "we accept"
    WE_REJECT = "we reject"
    WE_RELEASE = "we answer the release"
    WE_ABORT = "we abort"


_S, _I = State, Input

TRANSITIONS: Final[dict[tuple[State, Input], State]] = {
    (_S.AWAITING_REQUEST, _I.REQUEST): _S.DECIDING,  # AE-6
    (_S.AWAITING_REQUEST, _I.PEER_ABORT): _S.CLOSING,  # AA-2
    (_S.AWAITING_REQUEST, _I.WE_ABORT): _S.CLOSING,  # AA-1
    (_S.DECIDING, _I.WE_ACCEPT): _S.OPEN,  # AE-7
    (_S.DECIDING, _I.WE_REJECT): _S.CLOSING,  # AE-8
    (_S.DECIDING, _I.PEER_ABORT): _S.CLOSING,  # AA-3
    (_S.DECIDING, _I.WE_ABORT): _S.CLOSING,  # AA-1
    (_S.OPEN, _I.DATA): _S.OPEN,  # DT-2
    (_S.OPEN, _I.RELEASE): _S.RELEASING,  # AR-2
    (_S.OPEN, _I.PEER_ABORT): _S.CLOSING,  # AA-3
    (_S.OPEN, _I.WE_ABORT): _S.CLOSING,  # AA-1
    (_S.RELEASING, _I.WE_RELEASE): _S.CLOSING,  # AR-4
    (_S.RELEASING, _I.PEER_ABORT): _S.CLOSING,  # AA-3
    (_S.RELEASING, _I.WE_ABORT): _S.CLOSING,  # AA-1
}


@dataclass(frozen=True, slots=True)
class Requested:
    """The peer asks for an association: call `accept` or `reject`."""

    request: AssociateRequest


@dataclass(frozen=True, slots=True)
class MessageStarted:
    """A whole command set came. When it has a data set, `DataReceived` events follow, the last one with `last`."""

    context: Context
    command: CommandSet


@dataclass(frozen=True, slots=True)
class DataReceived:
    """A fragment of the data set. `data` is good only until the next call: it is a view of the caller's buffer."""

    data: bytes | memoryview
    last: bool


@dataclass(frozen=True, slots=True)
class Released:
    """The peer asked for the release, and the answer is in `data_to_send`."""


@dataclass(frozen=True, slots=True)
class Aborted:
    """The peer aborted."""

    source: int
    reason: int


Event = Requested | MessageStarted | DataReceived | Released | Aborted


class Acceptor:
    """One association, from the first byte to the last. It holds at most a command set (64 KiB) of the peer's bytes."""

    def __init__(self, *, max_pdu_bytes: int) -> None:
        self.state = State.AWAITING_REQUEST
        self.contexts: dict[int, Context] = {}
        self._max_pdu_bytes = max_pdu_bytes
        self._peer_max = 0
        self._request: AssociateRequest | None = None
        self._out: list[bytes] = []
        self._command = bytearray()
        self._context_id: int | None = None  # of the message that is coming in
        self._in_data_set = False

    def receive(self, kind: int, body: bytes | memoryview) -> Iterator[Event]:
        """What a PDU of type `kind` means, in order. Raises UpperLayerError, with an A-ABORT put into the output."""
        try:
            yield from self._receive(kind, body)
        except UpperLayerError:
            self.abort(reason=6 if kind in _KNOWN_KINDS else 1)  # PS3.8 9.3.8: invalid parameter, unrecognized PDU
            raise

    def _receive(self, kind: int, body: bytes | memoryview) -> Iterator[Event]:
        if kind == pdu.P_DATA:
            self._move(Input.DATA)
            for value in pdu.presentation_values(memoryview(body)):
                yield from self._fragment(value)
            return
        received = pdu.decode(kind, body)
        match received:
            case AssociateRequest():
                self._move(Input.REQUEST)
                self._request = received
                yield Requested(received)
            case pdu.ReleaseRequest():
                self._move(Input.RELEASE)
                self._say(Input.WE_RELEASE, pdu.ReleaseReply())
                yield Released()
            case Abort(source, reason):
                self._move(Input.PEER_ABORT)
                yield Aborted(source, reason)
            case _:
                raise UpperLayerError(f"A PDU of type {kind} is not for an acceptor")

    def _move(self, by: Input) -> None:
        after = TRANSITIONS.get((self.state, by))
        if after is None:
            raise UpperLayerError(f"{by} while {self.state}")
        self.state = after

    def _say(self, by: Input, what: pdu.Pdu) -> None:
        self._move(by)
        self._out.append(pdu.encode(what))

    def _fragment(self, value: PresentationValue) -> Iterator[Event]:
        """One message at a time: command fragments, then data set fragments, all of one context (PS3.8 annex E)."""
        if self._context_id is None:
            if value.context_id not in self.contexts:
                raise UpperLayerError(f"A message in presentation context {value.context_id}, which was not accepted")
            self._context_id = value.context_id
        if value.context_id != self._context_id or value.is_command == self._in_data_set:
            raise UpperLayerError("Fragments of two messages are mixed")
        if value.is_command:
            yield from self._command_fragment(value)
        else:
            if value.is_last:
                self._context_id, self._in_data_set = None, False
            yield DataReceived(value.data, value.is_last)

    def _command_fragment(self, value: PresentationValue) -> Iterator[Event]:
        if len(self._command) + len(value.data) > COMMAND_BYTES_MAX:
            raise UpperLayerError(f"A command set over the limit of {COMMAND_BYTES_MAX} bytes")
        self._command += value.data
        if not value.is_last:
            return
        commands = command.decode(self._command)
        self._command = bytearray()
        context = self.contexts[value.context_id]
        self._in_data_set = commands.has_data_set
        if not self._in_data_set:
            self._context_id = None
        yield MessageStarted(context, commands)

    def accept(self, offer: Offer) -> None:
        """Answers the request with what `offer` takes of it (PS3.8 9.3.3)."""
        request = self._asked()
        results = negotiate(request.contexts, offer)
        self.contexts = accepted(request.contexts, results)
        self._peer_max = request.user.max_length
        user = UserInformation(self._max_pdu_bytes, IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME)
        self._say(Input.WE_ACCEPT, pdu.AssociateAccept(request.called_ae[:16], request.calling_ae[:16], results, user))

    def reject(self, rejection: AssociateReject) -> None:
        """Answers the request with no."""
        self._say(Input.WE_REJECT, rejection)

    def _asked(self) -> AssociateRequest:
        if self._request is None:
            raise UpperLayerError("Nobody asked for an association")
        return self._request

    def send_message(self, context_id: int, message: CommandSet, data_set: bytes = b"") -> None:
        """Puts a message into the output, in fragments of the size that the peer takes (PS3.8 D.1)."""
        if self.state is not State.OPEN:
            raise UpperLayerError(f"A message can't be sent while {self.state}")
        room = max(self._peer_max or self._max_pdu_bytes, _SMALLEST_PDU) - pdu.PDV_HEADER_SIZE
        self._send_fragments(context_id, command.encode(message), room, is_command=True)
        if data_set:
            self._send_fragments(context_id, data_set, room, is_command=False)

    def _send_fragments(self, context_id: int, data: bytes, room: int, *, is_command: bool) -> None:
        for at in range(0, len(data), room):
            value = PresentationValue(context_id, is_command, at + room >= len(data), data[at : at + room])
            self._out.append(pdu.encode(pdu.DataTransfer((value,))))

    def abort(self, *, source: int = 2, reason: int = 0) -> None:
        """Puts an A-ABORT into the output, unless all has been said (PS3.8 9.3.8)."""
        if self.state is not State.CLOSING:
            self._say(Input.WE_ABORT, Abort(source, reason))

    def data_to_send(self) -> bytes:
        """The bytes that must now go to the peer, in order; each is given out once."""
        data = b"".join(self._out)
        self._out.clear()
        return data


_KNOWN_KINDS: Final = frozenset(range(pdu.ASSOCIATE_RQ, pdu.ABORT + 1))
