"""Modality Performed Procedure Step, SCP (PS3.4 F.7): N-CREATE and N-SET.

What comes is kept as it came. A completed step names the images that were made, and so says, as nothing else does, when
a study is whole. It is demanded what that takes: a status, the studies; the rest of the module is the modality's.
"""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, TypeVar

from appliance.clock import now_ms
from appliance.dimse import command
from appliance.dimse.command import CommandSet, Element, Field
from appliance.dimse.negotiation import PERFORMED_STEP, Context
from appliance.dimse.normalized import ITEMS_MAX, Normalized, RefusedError, demanded
from appliance.dimse.policy import Caller
from appliance.dimse.service import Operation
from appliance.dimse.status import Status
from appliance.logs import get_logger
from appliance.model.performed import StepState, state_after
from appliance.part10.attributes import Content, first_text, items_of
from appliance.part10.identity import valid_uid
from appliance.store_forward import mpps_book as book
from appliance.store_forward.journal import Journal
from appliance.store_forward.mpps_book import STEP_BYTES_MAX, Message

_STATUS, _SCHEDULED, _SERIES = 0x00400252, 0x00400270, 0x00400340
_STUDY, _SOP_INSTANCE = 0x0020000D, 0x00081155
_IMAGES, _NOT_IMAGES = 0x00081140, 0x00400220
_MAY_NOT_CHANGE: Final = 0xA710  # Error ID, PS3.4 F.7.2.2.2
_log = get_logger()
_T = TypeVar("_T")


class Performing:
    """The service of one association."""

    def __init__(self, journal: Journal, caller: Caller) -> None:
        self._journal, self._caller = journal, caller

    def begin(self, context: Context, request: CommandSet) -> Operation:
        """An N-CREATE-RQ or N-SET-RQ."""
        answer = self._create if request.field == Field.N_CREATE else self._set
        return Normalized(context, request, partial(answer, context, request))

    def _create(self, context: Context, request: CommandSet, content: Content, data: bytes) -> CommandSet:
        _check_class(context, request.text(Element.AFFECTED_SOP_CLASS_UID))
        uid = request.text(Element.AFFECTED_SOP_INSTANCE_UID) or f"2.25.{uuid.uuid4().int}"
        _check_instance(uid)
        if _status(content) is not StepState.IN_PROGRESS:
            raise RefusedError(Status.INVALID_ATTRIBUTE_VALUE, "A step begins IN PROGRESS", _STATUS)
        message = Message(data, context.transfer_syntax, _studies(content), _images(content))
        if not self._ask(
            lambda now, db: book.create(db, uid, message, self._caller.calling_ae, self._caller.address, now)
        ):
            raise RefusedError(Status.DUPLICATE_SOP_INSTANCE, "This step is there already")
        answer = command.response(request, Status.SUCCESS)
        return CommandSet({**answer.values, Element.AFFECTED_SOP_INSTANCE_UID: uid})

    def _set(self, context: Context, request: CommandSet, content: Content, data: bytes) -> CommandSet:
        _check_class(context, request.text(Element.REQUESTED_SOP_CLASS_UID))
        uid = request.text(Element.REQUESTED_SOP_INSTANCE_UID)
        _check_instance(uid)
        asked = _status(content) if f"{_STATUS:08X}" in content else None
        message = Message(data, context.transfer_syntax, frozenset(), _images(content))
        problem = self._ask(lambda now, db: _change(db, uid, asked, message, now))
        if problem is Status.NO_SUCH_OBJECT_INSTANCE:
            raise RefusedError(problem, "There is no such step")
        if problem is Status.RESOURCE_LIMITATION:
            raise RefusedError(problem, "Too much was said of this step")
        if problem is Status.PROCESSING_FAILURE:
            answer = command.response(request, problem, "The step has ended and may no longer be updated")
            return CommandSet({**answer.values, Element.ERROR_ID: _MAY_NOT_CHANGE})
        if asked in {StepState.COMPLETED, StepState.DISCONTINUED}:
            _log.info("step_ended", calling_ae=self._caller.calling_ae, state=str(asked))
        return command.response(request, Status.SUCCESS)

    def _ask(self, work: Callable[[int, sqlite3.Connection], _T]) -> _T:
        now = now_ms()
        return self._journal.ask(lambda connection: work(now, connection))


def _change(
    connection: sqlite3.Connection, uid: str, asked: StepState | None, message: Message, now: int
) -> Status | None:
    """Keeps an N-SET; or the status that it is refused with."""
    step = book.find(connection, uid)
    if step is None:
        return Status.NO_SUCH_OBJECT_INSTANCE
    after = state_after(step.state, asked)
    if after is None:
        return Status.PROCESSING_FAILURE
    if step.bytes + len(message.data_set) > STEP_BYTES_MAX:
        return Status.RESOURCE_LIMITATION
    book.change(connection, step, after, message, now)
    return None


def _check_class(context: Context, sop_class: str) -> None:
    if not sop_class == context.abstract_syntax == PERFORMED_STEP:
        raise RefusedError(Status.NO_SUCH_SOP_CLASS, "Only performed procedure steps are made and changed")


def _check_instance(uid: str) -> None:
    if not valid_uid(uid):
        raise RefusedError(Status.INVALID_OBJECT_INSTANCE, "The SOP Instance UID of the step is none")


def _status(content: Content) -> StepState:
    """Performed Procedure Step Status. Raises RefusedError."""
    word = demanded(content, _STATUS, "Performed Procedure Step Status")
    try:
        return StepState(word)
    except ValueError as error:
        raise RefusedError(Status.INVALID_ATTRIBUTE_VALUE, "This status is none of a step", _STATUS) from error


def _studies(content: Content) -> frozenset[str]:
    """The studies of the Scheduled Step Attributes Sequence. Raises RefusedError."""
    if f"{_SCHEDULED:08X}" not in content:
        raise RefusedError(Status.MISSING_ATTRIBUTE, "Scheduled Step Attributes Sequence is missing", _SCHEDULED)
    items = items_of(content, _SCHEDULED)
    if not items:
        raise RefusedError(Status.MISSING_ATTRIBUTE_VALUE, "Scheduled Step Attributes Sequence is empty", _SCHEDULED)
    return frozenset(_valid(demanded(item, _STUDY, "Study Instance UID"), _STUDY) for item in items)


def _images(content: Content) -> frozenset[str] | None:
    """What the Performed Series Sequence names; None when it is not there. Raises RefusedError."""
    if f"{_SERIES:08X}" not in content:
        return None
    found = frozenset(_valid(first_text(item, _SOP_INSTANCE), _SOP_INSTANCE) for item in _references(content))
    if len(found) > ITEMS_MAX:
        raise RefusedError(Status.RESOURCE_LIMITATION, f"More than {ITEMS_MAX} images", _SERIES)
    return found


def _references(content: Content) -> Iterator[Content]:
    for series in items_of(content, _SERIES):
        for tag in (_IMAGES, _NOT_IMAGES):
            yield from items_of(series, tag)


def _valid(uid: str, tag: int) -> str:
    if not valid_uid(uid):
        raise RefusedError(Status.INVALID_ATTRIBUTE_VALUE, "A UID is none", tag)
    return uid
