"""One association in its own thread: from the first byte, through the messages, to a close that the peer can follow."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from appliance.dimse.association import Aborted, Acceptor, DataReceived, MessageStarted, Released, Requested
from appliance.dimse.command import CommandSet, Element, Field
from appliance.dimse.negotiation import Offer
from appliance.dimse.pdu import AssociateReject, AssociateRequest
from appliance.dimse.policy import Caller, protocol_fault
from appliance.dimse.service import Cancellable, Operation, Reply, Service, operation_for
from appliance.dimse.transport import PeerGoneError, Transport
from appliance.errors import ApplianceError, UpperLayerError
from appliance.logs import get_logger

_REQUEST_BYTES_MAX = 1 << 18  # 128 contexts with 40 transfer syntaxes each need 180 kB
_log = get_logger()


@dataclass(frozen=True, slots=True)
class Limits:
    """Ceilings of one association: bytes, seconds."""

    max_pdu_bytes: int
    request_seconds: float
    pdu_seconds: float
    idle_seconds: float


class Association(Protocol):
    """An application's part in one accepted association."""

    @property
    def offer(self) -> Offer:
        """What may be negotiated."""

    @property
    def services(self) -> Mapping[int, Service]:
        """What is done, by command field."""

    def close(self) -> None:
        """The association is over, in whatever way."""


@dataclass(frozen=True, slots=True)
class Said:
    """A request of ours in an association that the peer opened (N-EVENT-REPORT, PS3.7 10.1.1)."""

    context_id: int
    command: CommandSet
    data_set: bytes


@runtime_checkable
class Speaking(Association, Protocol):
    """An association in which we may say something unasked, between two messages of the peer."""

    @property
    def quiet_seconds(self) -> float | None:
        """Silence of the peer after which `speak` is to be called; None while there is nothing to say."""

    def speak(self) -> Iterable[Said]:
        """What is to be said now. Raises nothing: what can't be told here is told another way."""


class Application(Protocol):
    """What stands behind a DICOM server."""

    def knows(self, address: str) -> bool:
        """Whether a peer of this address may be a real one. Answered from memory: the accept loop asks."""

    def open(self, caller: Caller) -> Association | AssociateReject:
        """Takes or refuses the association. Raises ApplianceError when it can't tell now."""


class Session:
    """The shell around an `Acceptor`: it alone touches the socket."""

    def __init__(
        self, sock: socket.socket, address: str, application: Application, limits: Limits, tls: ssl.SSLContext | None
    ) -> None:
        self._sock, self._address, self._application, self._limits = sock, address, application, limits
        self._tls = tls
        self._acceptor = Acceptor(max_pdu_bytes=limits.max_pdu_bytes)
        self._association: Association | None = None
        self._speaking: Speaking | None = None  # the same, when it may speak: asked once, not for each PDU
        self._operation: Operation | None = None
        self._answering: Cancellable | None = None  # its request is whole, and its responses are many
        self._context_id = 0
        self._message_id = 0
        self._stopping = threading.Event()
        self._closed = threading.Lock()

    def stop(self, *, now: bool) -> None:
        """From another thread: ends an idle association; with `now`, one in the middle of a message too."""
        self._stopping.set()
        with self._closed:
            if self._sock.fileno() >= 0 and (now or self._operation is None):
                # Wakes the thread out of its read; it then finds that it is to stop. The unbound method, because
                # SSLSocket's own would take the TLS state away from under that thread.
                try:
                    socket.socket.shutdown(self._sock, socket.SHUT_RD)
                except OSError:
                    return  # the peer was faster

    def run(self) -> None:
        """Serves the association to its end. Raises nothing."""
        try:
            if self._tls:
                self._sock.settimeout(self._limits.request_seconds)
                self._sock = self._tls.wrap_socket(self._sock, server_side=True, do_handshake_on_connect=False)
                self._sock.do_handshake()
            self._serve(Transport(self._sock))
        except (OSError, ApplianceError) as error:
            self._note(error)
        except Exception as error:  # noqa: BLE001  a fault of ours in one association must not end the others
            _log.error("association_failed", address=self._address, exception=type(error).__name__)
        finally:
            self._end()

    def _note(self, error: Exception) -> None:
        reason = error.message if isinstance(error, ApplianceError) else type(error).__name__
        error_id = error.id if isinstance(error, ApplianceError) else UpperLayerError.id
        _log.warning("association_broken", address=self._address, reason=reason, error_id=error_id)

    def _end(self) -> None:
        for operation in (self._operation, self._answering):
            if operation:
                operation.abandon()
        if self._association:
            self._association.close()
        with self._closed:
            self._sock.close()

    def _serve(self, transport: Transport) -> None:
        limits = self._limits
        try:
            self._exchange(transport, limits.request_seconds, limits.request_seconds, _REQUEST_BYTES_MAX)
            while self._exchange(transport, limits.idle_seconds, limits.pdu_seconds, limits.max_pdu_bytes):
                pass
        except PeerGoneError:
            if self._stopping.is_set():
                self._acceptor.abort(source=0)
            elif self._association:
                raise
            # else it came, said nothing and left, as port checks do
        except (UpperLayerError, ApplianceError):
            self._acceptor.abort()
            raise
        finally:
            self._flush(transport)
            transport.say_goodbye()

    def _exchange(self, transport: Transport, first_byte: float, whole: float, length_max: int) -> bool:
        """One PDU in, and what it calls for out. Returns whether the association goes on."""
        if self._stopping.is_set() and self._operation is None:
            self._acceptor.abort(source=0)
            return False
        if self._speaking and self._operation is None:
            first_byte = self._speak(transport, self._speaking, first_byte)
        kind, body = transport.read_pdu(length_max=length_max, first_byte_within=first_byte, whole_within=whole)
        for event in self._acceptor.receive(kind, body):
            match event:
                case DataReceived(data, last):
                    self._data(transport, data, last=last)
                case MessageStarted():
                    self._message(transport, event)
                case Requested(request):
                    self._requested(request)
                case Released() | Aborted():
                    return False
        self._flush(transport)
        if self._answering and not self._answer(transport, self._answering):
            return False
        return self._association is not None

    def _speak(self, transport: Transport, speaking: Speaking, within: float) -> float:
        """Says what there is to say until the peer says something. What is left of `within`, in seconds."""
        until = time.monotonic() + within
        while (left := until - time.monotonic()) > 0:
            quiet = speaking.quiet_seconds
            if quiet is None or transport.has_input(within=min(quiet, left)):
                return left
            for said in speaking.speak():
                self._acceptor.send_message(said.context_id, said.command, said.data_set)
                self._flush(transport)
        return 0.0

    def _flush(self, transport: Transport) -> None:
        transport.send(self._acceptor.data_to_send(), within=self._limits.pdu_seconds)

    def _requested(self, request: AssociateRequest) -> None:
        caller = Caller(self._address, request.calling_ae, request.called_ae, self._tls is not None)
        answer = protocol_fault(request) or self._application.open(caller)
        if isinstance(answer, AssociateReject):
            _log.info(
                "association_refused",
                address=self._address,
                calling_ae=request.calling_ae,
                called_ae=request.called_ae,
                reason=f"{answer.result}/{answer.source}/{answer.reason}",
            )
            self._acceptor.reject(answer)
            return
        self._association = answer
        self._speaking = answer if isinstance(answer, Speaking) else None
        self._acceptor.accept(answer.offer)

    def _message(self, transport: Transport, event: MessageStarted) -> None:
        if self._association is None:
            raise UpperLayerError("A message before the association was accepted")
        if self._answering:
            self._meanwhile(event, self._answering)
            return
        self._context_id, self._message_id = event.context.id, event.command.message_id
        self._operation = operation_for(self._association.services, event.context, event.command)
        if not event.command.has_data_set:
            self._finish(transport)

    def _data(self, transport: Transport, data: bytes | memoryview, *, last: bool) -> None:
        if self._operation:
            self._operation.write(data)
            if last:
                self._finish(transport)

    def _finish(self, transport: Transport) -> None:
        operation, self._operation = self._operation, None
        if isinstance(operation, Cancellable):
            self._answering = operation  # after all that is in this PDU
        elif operation:
            for reply in operation.finish():
                self._reply(transport, reply)

    def _reply(self, transport: Transport, reply: Reply) -> None:
        self._acceptor.send_message(self._context_id, reply.command, reply.data_set)
        self._flush(transport)

    def _answer(self, transport: Transport, operation: Cancellable) -> bool:
        """Sends the responses, and hears before each what the peer says. False when the association is over."""
        for reply in operation.finish():
            while transport.has_input():
                if not self._hear(transport, operation):
                    return False
            self._reply(transport, reply)
        self._answering = None
        return True

    def _hear(self, transport: Transport, operation: Cancellable) -> bool:
        """One PDU in the middle of the responses. False when it ends the association."""
        seconds = self._limits.pdu_seconds
        length_max = self._limits.max_pdu_bytes
        kind, body = transport.read_pdu(length_max=length_max, first_byte_within=seconds, whole_within=seconds)
        for event in self._acceptor.receive(kind, body):
            match event:
                case MessageStarted():
                    self._meanwhile(event, operation)
                case Released() | Aborted():
                    return False
        return True

    def _meanwhile(self, event: MessageStarted, operation: Cancellable) -> None:
        """Of messages only a C-CANCEL may come before the last response (PS3.7 D.3.3.3: one operation at a time)."""
        if event.command.field != Field.C_CANCEL:
            raise UpperLayerError("A message came before the one before it was answered")
        if event.command.number(Element.MESSAGE_ID_RESPONDED_TO) == self._message_id:
            operation.cancel()
