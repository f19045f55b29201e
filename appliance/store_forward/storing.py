"""C-STORE (PS3.4 annex B): what one association stores, and which status its modality is told."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from appliance.clock import now_ms
from appliance.dimse import command
from appliance.dimse.command import RESPONSE, CommandSet, Element, Field
from appliance.dimse.negotiation import Context, Offer
from appliance.dimse.policy import Caller
from appliance.dimse.service import Operation, Reply, Service, Verification
from appliance.dimse.session import Said
from appliance.dimse.status import Status
from appliance.errors import ApplianceError, DicomError, MismatchError, SpoolError
from appliance.logs import get_logger
from appliance.model.identity import InstanceIdentity
from appliance.model.priority import Priority
from appliance.named_sql import NamedSql
from appliance.part10.identity import valid_uid
from appliance.part10.meta import FileMeta
from appliance.store_forward.arrival import Arrival, Outcome, record_received
from appliance.store_forward.commitment import Commitments, Committing
from appliance.store_forward.journal import Journal
from appliance.store_forward.mpps import Performing
from appliance.store_forward.spool import Incoming, Spool

_SQL: Final = NamedSql("appliance.store_forward.sql", "receive.sql")
_log = get_logger()


@dataclass(frozen=True, slots=True)
class Sender:
    """An admitted caller and the settings of its modality."""

    caller: Caller
    name: str
    settle_ms: int
    priority: Priority


class Storing:
    """One association that may store. It serves C-STORE and C-ECHO, and counts what came for the timeline.

    Beside it, in rooms of their own: storage commitment, which may also say something unasked, and performed steps.
    """

    def __init__(
        self,
        sender: Sender,
        offer: Offer,
        spool: Spool,
        journal: Journal,
        commitments: Commitments,
        *,
        size_max: int,
    ) -> None:
        self.offer = offer
        self._committing, performing = Committing(commitments, sender.caller), Performing(journal, sender.caller)
        self.services: Mapping[int, Service] = {
            Field.C_ECHO: Verification(),
            Field.C_STORE: self,
            Field.N_ACTION: self._committing,
            Field.N_EVENT_REPORT | RESPONSE: self._committing,
            Field.N_CREATE: performing,
            Field.N_SET: performing,
        }
        self._sender, self._spool, self._journal, self._size_max = sender, spool, journal, size_max
        self._counts = Counter[int]()

    def begin(self, context: Context, request: CommandSet) -> Operation:
        """A C-STORE starts."""
        return _Store(self, context, request)

    def open(self, meta: FileMeta) -> Incoming:
        """A file for an instance that begins to come. Raises ApplianceError when there is no room."""
        return self._spool.open(meta, size_max=self._size_max)

    def keep(self, incoming: Incoming, identity: InstanceIdentity, transfer_syntax: str) -> None:
        """Returns when the instance is durable, name and row (invariant 1); after an ApplianceError it is gone."""
        entry = self._journal.seal_and_store(partial(self._sealed, incoming, identity, transfer_syntax))
        self._counts[entry.study_id] += entry.outcome is not Outcome.DUPLICATE

    def _sealed(self, incoming: Incoming, identity: InstanceIdentity, transfer_syntax: str) -> Arrival:
        return Arrival(
            sealed=incoming.seal(),
            identity=identity,
            transfer_syntax_uid=transfer_syntax,
            calling_ae=self._sender.caller.calling_ae,
            calling_address=self._sender.caller.address,
            at=now_ms(),
            settle_ms=self._sender.settle_ms,
            priority=self._sender.priority,
        )

    def refused(self, status: Status, error: ApplianceError) -> None:
        """Shows a refusal to people: a log line, and a row for the page when the database takes one."""
        caller = self._sender.caller
        _log.warning(
            "store_refused",
            address=caller.address,
            calling_ae=caller.calling_ae,
            status=f"0x{status:04X}",
            error_id=error.id,
        )
        values = {
            "at": now_ms(),
            "calling_ae": caller.calling_ae,
            "address": caller.address,
            "status": int(status),
            "error_id": error.id,
        }
        self._journal.note(lambda connection: connection.execute(_SQL["refused"], values))

    @property
    def quiet_seconds(self) -> float | None:
        """Silence after which there may be something to say (dimse.session.Speaking)."""
        return self._committing.quiet_seconds

    def speak(self) -> Iterable[Said]:
        """What storage commitment has to say."""
        return self._committing.speak()

    def close(self) -> None:
        """One line for each study that got something."""
        self._committing.close()
        if self._counts.total():
            self._journal.note(partial(_record, self._counts, now_ms()))
            _log.info(
                "association_ended",
                address=self._sender.caller.address,
                calling_ae=self._sender.caller.calling_ae,
                count=self._counts.total(),
            )


def _record(counts: Counter[int], at: int, connection: sqlite3.Connection) -> None:
    record_received(connection, counts, at)


class _RefusedError(Exception):
    """Carries the answer to an instance that is not taken."""

    def __init__(self, status: Status, error: ApplianceError) -> None:
        super().__init__(error.message)
        self.status, self.error = status, error


class _Store:
    """One C-STORE on its way in. After a refusal the rest of its data set is drained and forgotten."""

    def __init__(self, association: Storing, context: Context, request: CommandSet) -> None:
        self._association, self._request = association, request
        self._transfer_syntax = context.transfer_syntax
        self._refusal: _RefusedError | None = None
        self._incoming: Incoming | None = None
        try:
            self._incoming = self._open()
        except _RefusedError as refusal:
            self._refusal = refusal
        except ApplianceError as error:
            self._refusal = _RefusedError(Status.OUT_OF_RESOURCES, error)

    def _open(self) -> Incoming:
        sop_class = self._request.text(Element.AFFECTED_SOP_CLASS_UID)
        sop_instance = self._request.text(Element.AFFECTED_SOP_INSTANCE_UID)
        if not valid_uid(sop_class):
            raise _RefusedError(Status.SOP_CLASS_NOT_SUPPORTED, DicomError("The SOP Class UID is empty or malformed"))
        if not valid_uid(sop_instance):
            raise _RefusedError(
                Status.INVALID_OBJECT_INSTANCE, DicomError("The SOP Instance UID is empty or malformed")
            )
        if not self._request.has_data_set:
            raise _RefusedError(Status.NO_DATA_SET, DicomError("A store without a data set"))
        return self._association.open(FileMeta(sop_class, sop_instance, self._transfer_syntax))

    def write(self, fragment: bytes | memoryview) -> None:
        """Appends to the file, or drains."""
        if self._incoming:
            try:
                self._incoming.write(fragment)
            except ApplianceError as error:
                self._incoming, self._refusal = None, _RefusedError(Status.OUT_OF_RESOURCES, error)

    def abandon(self) -> None:
        """Removes what came of it."""
        if self._incoming:
            self._incoming.discard()

    def finish(self) -> Iterable[Reply]:
        """One response, after the instance is durable or gone."""
        try:
            if self._refusal or self._incoming is None:
                raise self._refusal or _RefusedError(Status.OUT_OF_RESOURCES, SpoolError())
            self._keep(self._incoming)
        except _RefusedError as refusal:
            self._association.refused(refusal.status, refusal.error)
            return (Reply(command.response(self._request, refusal.status, refusal.error.message)),)
        return (Reply(command.response(self._request, Status.SUCCESS)),)

    def _keep(self, incoming: Incoming) -> None:
        try:
            identity = self._identity(incoming)
        except _RefusedError:
            incoming.discard()
            raise
        try:
            self._association.keep(incoming, identity, self._transfer_syntax)
        except ApplianceError as error:
            raise _RefusedError(Status.OUT_OF_RESOURCES, error) from error

    def _identity(self, incoming: Incoming) -> InstanceIdentity:
        try:
            identity = incoming.identity()
        except DicomError as error:
            raise _RefusedError(Status.CANNOT_UNDERSTAND, error) from error
        except ApplianceError as error:
            raise _RefusedError(Status.OUT_OF_RESOURCES, error) from error
        _check(identity, self._request)
        return identity


def _check(identity: InstanceIdentity, request: CommandSet) -> None:
    """Whether the data set is what the command announced (PS3.4 B.2.3)."""
    if identity.sop_class_uid != request.text(Element.AFFECTED_SOP_CLASS_UID):
        raise _RefusedError(Status.DOES_NOT_MATCH_SOP_CLASS, MismatchError("The data set is of another SOP class"))
    if identity.sop_instance_uid != request.text(Element.AFFECTED_SOP_INSTANCE_UID):
        raise _RefusedError(Status.DOES_NOT_MATCH_SOP_INSTANCE, MismatchError("The data set has another instance UID"))
