"""Storage Commitment Push Model, SCP (PS3.4 annex J): N-ACTION in, N-EVENT-REPORT out on the same association.

What was asked is a row before it is answered. A device that keeps its association open hears the report on it, when it
is silent for a moment; any other is called by `commitment_reports`.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections import Counter
from collections.abc import Collection, Iterable
from functools import partial
from typing import Any, Final

from appliance.clock import now_ms
from appliance.dimse import command
from appliance.dimse.command import CommandSet, Element, Field
from appliance.dimse.negotiation import STORAGE_COMMITMENT, Context
from appliance.dimse.normalized import Normalized, RefusedError, demanded
from appliance.dimse.policy import Caller
from appliance.dimse.service import Ignored, Operation
from appliance.dimse.session import Said
from appliance.dimse.status import Status
from appliance.errors import ApplianceError
from appliance.logs import get_logger
from appliance.model.commitment import Level, pause_ms
from appliance.part10.attributes import Content, items_of
from appliance.part10.identity import valid_uid
from appliance.part10.writing import encode_attributes
from appliance.store_forward import commitment_book as book
from appliance.store_forward.commitment_book import Asked, Report
from appliance.store_forward.journal import Journal

WELL_KNOWN_INSTANCE: Final = "1.2.840.10008.1.20.1.1"  # PS3.4 J.3.5
_REQUEST_COMMITMENT: Final = 1  # Action Type ID, PS3.4 J.3.2
_ALL_SAFE, _FAILURES_EXIST = 1, 2  # Event Type ID, PS3.4 J.3.3
_TRANSACTION_UID, _FAILURE_REASON = 0x00081195, 0x00081197
_FAILED, _REFERENCED = 0x00081198, 0x00081199
_SOP_CLASS, _SOP_INSTANCE = 0x00081150, 0x00081155
_SOON_SECONDS: Final = 0.25  # many devices release at once after the answer: they are called, not spoken into
_LATER_SECONDS: Final = 1.0
_log = get_logger()


class Commitments:
    """What all associations and the reporter share: the book, and who is telling what now."""

    def __init__(self, journal: Journal, level: Level) -> None:
        self._journal, self.level = journal, level
        self._lock = threading.Lock()
        self._claimed = set[int]()
        self._listening = Counter[str]()
        self.wake = threading.Event()

    def add(self, asked: Asked) -> None:
        """Returns when the request is durable. Raises RefusedError, ApplianceError."""
        if self._journal.ask(lambda connection: book.add(connection, asked, now_ms())) is None:
            raise RefusedError(Status.RESOURCE_LIMITATION, "Too many requests of this device wait for their report")

    def decide_due(self) -> int:
        """Looks at what waits for receipts. Raises ApplianceError."""
        with self._lock:
            listening = frozenset(+self._listening)
        return self._journal.ask(lambda connection: book.decide_due(connection, now_ms(), listening))

    def claim_due(self, limit: int, busy: Collection[tuple[str, str]]) -> list[Report]:
        """Reports to send now, which are the caller's until `told`, `not_told` or `release`. Raises ApplianceError.

        `busy`: devices (AE title, address) that are being told something already.
        """
        with self._lock:  # held over the question: two askers must not get the same
            ask = partial(_to_tell, self._claimed, busy, limit)
            found = self._journal.ask(ask)
            self._claimed.update(report.id for report in found)
        return found

    def claim_here(self, caller: Caller) -> Report | None:
        """The next report for this device, whose association is open. Raises ApplianceError."""
        ask = partial(_to_tell_here, caller, self._claimed)
        with self._lock:
            found = self._journal.ask(ask)
            if found:
                self._claimed.add(found.id)
        return found

    def told(self, report: Report) -> None:
        """The device took it. Raises ApplianceError: then it is told again, which harms nobody."""
        try:
            self._journal.ask(lambda connection: book.told(connection, report.id, now_ms()))
        finally:
            self.release(report)
        _log.info("commitment_reported", address=report.address, calling_ae=report.calling_ae, count=len(report.items))

    def not_told(self, report: Report, reason: str) -> None:
        """The device did not take it: later again, and for ever. Raises ApplianceError."""
        next_at = now_ms() + pause_ms(report.tries)
        try:
            self._journal.ask(lambda connection: book.not_told(connection, report.id, next_at))
        finally:
            self.release(report)
        _log.warning(
            "commitment_not_reported",
            address=report.address,
            calling_ae=report.calling_ae,
            attempt=report.tries + 1,
            reason=reason,
        )

    def listens(self, caller: Caller) -> None:
        """An association of this device has asked for a commitment, and may hear the report."""
        with self._lock:
            self._listening[caller.calling_ae] += 1

    def left(self, caller: Caller, untold: Report | None) -> None:
        """It is over."""
        with self._lock:
            self._listening[caller.calling_ae] -= 1
        if untold:
            self.release(untold)
        self._journal.note(lambda connection: _tell_now(connection, caller, self.wake))

    def release(self, report: Report) -> None:
        """Somebody else may tell it."""
        with self._lock:
            self._claimed.discard(report.id)


def _to_tell(
    claimed: set[int], busy: Collection[tuple[str, str]], limit: int, connection: sqlite3.Connection
) -> list[Report]:
    return book.to_tell(connection, now_ms(), claimed, busy, limit)


def _to_tell_here(caller: Caller, claimed: set[int], connection: sqlite3.Connection) -> Report | None:
    return book.to_tell_here(connection, caller.calling_ae, caller.address, claimed)


def _tell_now(connection: sqlite3.Connection, caller: Caller, wake: threading.Event) -> None:
    book.tell_now(connection, caller.calling_ae, caller.address, now_ms())
    wake.set()


class Committing:
    """One association's part: the service of N-ACTION and of the answers to our reports, and what it says unasked."""

    def __init__(self, commitments: Commitments, caller: Caller) -> None:
        self._commitments, self._caller = commitments, caller
        self._context: Context | None = None  # in which it asked
        self._telling: Report | None = None
        self._message_id = 0
        self._quiet = _SOON_SECONDS

    def begin(self, context: Context, request: CommandSet) -> Operation:
        """An N-ACTION-RQ, or an N-EVENT-REPORT-RSP."""
        if request.field == Field.N_ACTION:
            return Normalized(context, request, partial(self._asked, context, request))
        self._heard(request)
        return Ignored()

    def _asked(self, context: Context, request: CommandSet, content: Content, _data: bytes) -> CommandSet:
        _check_command(context, request)
        transaction_uid = demanded(content, _TRANSACTION_UID, "Transaction UID")
        if not valid_uid(transaction_uid):
            raise RefusedError(Status.INVALID_ARGUMENT_VALUE, "Transaction UID is none", _TRANSACTION_UID)
        caller = self._caller
        asked = Asked(transaction_uid, _references(content), caller.calling_ae, caller.address, self._commitments.level)
        self._commitments.add(asked)
        if self._context is None:
            self._commitments.listens(caller)
        self._context, self._quiet = context, _SOON_SECONDS
        return command.response(request, Status.SUCCESS)

    # dimse.session.Speaking

    @property
    def quiet_seconds(self) -> float | None:
        """Nothing is to be said before an N-ACTION, nor while a report is not answered."""
        return None if self._context is None or self._telling else self._quiet

    def speak(self) -> Iterable[Said]:
        """The next report for this device, if there is one."""
        if self._context is None:
            return ()
        try:
            self._telling = self._commitments.claim_here(self._caller)
        except ApplianceError as error:
            _log.warning("commitment_waits", error_id=error.id, reason=error.message)
        if self._telling is None:
            self._quiet = _LATER_SECONDS
            return ()
        self._message_id = self._message_id % 0xFFFF + 1
        event_type, content = event_of(self._telling)
        data_set = encode_attributes(content, self._context.transfer_syntax)
        return (Said(self._context.id, _event_report(event_type, self._message_id), data_set),)

    def _heard(self, answer: CommandSet) -> None:
        report = self._telling
        if report is None or answer.number(Element.MESSAGE_ID_RESPONDED_TO) != self._message_id:
            return
        self._telling = None
        status = answer.number(Element.STATUS)
        with contextlib.suppress(ApplianceError):  # nothing is lost: it is told again
            if status == Status.SUCCESS:
                self._commitments.told(report)
            else:
                self._commitments.not_told(report, f"answered with status 0x{status or 0:04X}")

    def close(self) -> None:
        """The association is over: what it did not hear goes another way."""
        if self._context is not None:
            self._commitments.left(self._caller, self._telling)


def _check_command(context: Context, request: CommandSet) -> None:
    """PS3.7 10.1.4.1, PS3.4 J.3.2."""
    sop_class = request.text(Element.REQUESTED_SOP_CLASS_UID)
    if not sop_class == context.abstract_syntax == STORAGE_COMMITMENT:
        raise RefusedError(Status.NO_SUCH_SOP_CLASS, "Actions are for storage commitment alone")
    if request.text(Element.REQUESTED_SOP_INSTANCE_UID) != WELL_KNOWN_INSTANCE:
        raise RefusedError(Status.NO_SUCH_OBJECT_INSTANCE, "Storage commitment has one well-known instance")
    if request.number(Element.ACTION_TYPE_ID) != _REQUEST_COMMITMENT:
        raise RefusedError(Status.NO_SUCH_ACTION, "Storage commitment has action type 1 alone")


def _references(content: Content) -> tuple[tuple[str, str], ...]:
    """The Referenced SOP Sequence. Raises RefusedError."""
    if f"{_REFERENCED:08X}" not in content:
        raise RefusedError(Status.MISSING_ATTRIBUTE, "Referenced SOP Sequence is missing", _REFERENCED)
    items = items_of(content, _REFERENCED)
    if not items:
        raise RefusedError(Status.MISSING_ATTRIBUTE_VALUE, "Referenced SOP Sequence is empty", _REFERENCED)
    return tuple(
        (_uid(item, _SOP_CLASS, "Referenced SOP Class UID"), _uid(item, _SOP_INSTANCE, "Referenced SOP Instance UID"))
        for item in items
    )


def _uid(item: Content, tag: int, name: str) -> str:
    uid = demanded(item, tag, name)
    if not valid_uid(uid):
        raise RefusedError(Status.INVALID_ARGUMENT_VALUE, f"{name} is none", tag)
    return uid


def event_of(report: Report) -> tuple[int, Content]:
    """Event Type ID and Event Information (PS3.4 table J.3-2), in the DICOM JSON model."""
    safe = [_reference(sop_class, instance) for sop_class, instance, failure in report.items if not failure]
    failed = [
        _reference(sop_class, instance) | {f"{_FAILURE_REASON:08X}": {"vr": "US", "Value": [failure]}}
        for sop_class, instance, failure in report.items
        if failure
    ]
    content: dict[str, Any] = {f"{_TRANSACTION_UID:08X}": {"vr": "UI", "Value": [report.transaction_uid]}}
    for tag, items in ((_REFERENCED, safe), (_FAILED, failed)):
        if items:
            content[f"{tag:08X}"] = {"vr": "SQ", "Value": items}
    return _FAILURES_EXIST if failed else _ALL_SAFE, content


def _reference(sop_class: str, instance: str) -> dict[str, Any]:
    return {
        f"{_SOP_CLASS:08X}": {"vr": "UI", "Value": [sop_class]},
        f"{_SOP_INSTANCE:08X}": {"vr": "UI", "Value": [instance]},
    }


def _event_report(event_type: int, message_id: int) -> CommandSet:
    """PS3.7 10.3.1."""
    return CommandSet(
        {
            Element.AFFECTED_SOP_CLASS_UID: STORAGE_COMMITMENT,
            Element.COMMAND_FIELD: Field.N_EVENT_REPORT,
            Element.MESSAGE_ID: message_id,
            Element.DATA_SET_TYPE: 0,
            Element.AFFECTED_SOP_INSTANCE_UID: WELL_KNOWN_INSTANCE,
            Element.EVENT_TYPE_ID: event_type,
        }
    )
