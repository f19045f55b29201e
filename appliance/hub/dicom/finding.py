"""C-FIND (PS3.4 C.4.1, PS3.7 9.1.2): answers stream from the index, page by page, until the peer wants no more.

Answers are in UTF-8 whatever the question was in, with Specific Character Set where a text needs it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from pydicom.datadict import keyword_for_tag

from appliance.clock import now_ms
from appliance.dimse.command import CommandSet, response
from appliance.dimse.negotiation import Context
from appliance.dimse.service import Operation, Reply
from appliance.dimse.status import Status
from appliance.errors import DatabaseError, DicomError, DiskFullError
from appliance.hub.dicom.peers import Peer
from appliance.hub.index import trail
from appliance.hub.index.database import Index
from appliance.hub.index.scope import EVERYTHING
from appliance.hub.query.asking import Asked, Query, asked, lacking
from appliance.hub.query.keys import UNIQUE, Level, tag_of
from appliance.hub.query.matching import Equal, MalformedKeyError
from appliance.hub.query.search import Answer, every, total
from appliance.logs import get_logger
from appliance.part10.attributes import first_text, read_identifier
from appliance.part10.writing import UTF_8, encode_attributes, is_ascii

PATIENT_ROOT: Final = "1.2.840.10008.5.1.4.1.2.1.1"
STUDY_ROOT: Final = "1.2.840.10008.5.1.4.1.2.2.1"
MODELS: Final = {PATIENT_ROOT: Level.PATIENT, STUDY_ROOT: Level.STUDY}
_LEVELS: Final = {
    "PATIENT": Level.PATIENT,
    "STUDY": Level.STUDY,
    "SERIES": Level.SERIES,
    "IMAGE": Level.INSTANCE,
}
_IDENTIFIER_MAX: Final = 1 << 20  # bytes; 10,000 UIDs are 650 kB
_DETAIL_MAX: Final = 400
_LEVEL, _RETRIEVE_AE, _CHARACTER_SET = map(tag_of, ("QueryRetrieveLevel", "RetrieveAETitle", "SpecificCharacterSet"))

log = get_logger()


class _RefusedError(Exception):
    """The question can't be answered."""

    def __init__(self, status: Status, comment: str, offending: int | None = None) -> None:
        super().__init__(comment)
        self.status, self.comment, self.offending = status, comment, offending


@dataclass(frozen=True)
class Finding:
    """The service of one association. `own_ae`: what studies are to be retrieved from."""

    index: Index
    peer: Peer
    own_ae: str
    answers_max: int

    def begin(self, context: Context, request: CommandSet) -> Operation:
        """A C-FIND-RQ."""
        return _Find(self, context, request)


class _Find:
    """One C-FIND."""

    def __init__(self, service: Finding, context: Context, request: CommandSet) -> None:
        self._service, self._context, self._request = service, context, request
        self._identifier = bytearray()
        self._is_too_long = self._is_cancelled = False

    def write(self, fragment: bytes | memoryview) -> None:
        """Takes a fragment of the identifier."""
        self._is_too_long = self._is_too_long or len(self._identifier) + len(fragment) > _IDENTIFIER_MAX
        if not self._is_too_long:
            self._identifier += fragment

    def cancel(self) -> None:
        """The next response is the last."""
        self._is_cancelled = True

    def abandon(self) -> None:
        """Nothing of a question is kept."""

    def finish(self) -> Iterable[Reply]:
        """The pending responses and the last one."""
        try:
            yield from self._pending(self._asked())
        except _RefusedError as refused:
            yield self._last(refused.status, refused.comment, refused.offending)
        except (DatabaseError, DiskFullError) as error:
            log.error("a question can't be answered", error_id=error.id, reason=error.message)
            yield self._last(Status.OUT_OF_RESOURCES, "The index can't be used now")
        else:
            yield self._last(Status.CANCEL if self._is_cancelled else Status.SUCCESS)

    def _last(self, status: Status, comment: str = "", offending: int | None = None) -> Reply:
        return Reply(response(self._request, status, comment, offending=offending))

    def _asked(self) -> Asked:
        """The question. Raises _RefusedError."""
        if self._is_too_long:
            raise _RefusedError(Status.OUT_OF_RESOURCES, f"The identifier is longer than {_IDENTIFIER_MAX} bytes")
        if not self._request.has_data_set:
            raise _RefusedError(Status.CANNOT_UNDERSTAND, "A question has an identifier")
        try:
            identifier = read_identifier(bytes(self._identifier), self._context.transfer_syntax)
        except DicomError as error:
            raise _RefusedError(Status.CANNOT_UNDERSTAND, "The identifier can't be read") from error
        top = MODELS[self._context.abstract_syntax]
        level = _LEVELS.get(first_text(identifier, _LEVEL))
        if level is None or level < top:
            raise _RefusedError(Status.IDENTIFIER_DOES_NOT_MATCH, "The level is none of this model", _LEVEL)
        try:
            found = asked(level, identifier)
        except MalformedKeyError as error:
            raise _RefusedError(Status.MALFORMED_KEY, f"Key: {error.reason}", error.tag) from error
        missing = lacking(found.query, top)
        if missing is not None:
            raise _RefusedError(Status.IDENTIFIER_DOES_NOT_MATCH, "One value of this key is needed", missing)
        return found

    def _pending(self, found: Asked) -> Iterator[Reply]:
        service, query = self._service, found.query
        self._note("find", _detail(query))
        status = Status.PENDING_WARNING if found.unsupported else Status.PENDING
        count = 0
        for answer in every(service.index, service.peer.scope, query):
            if self._is_cancelled:
                return
            if count == service.answers_max:
                raise _RefusedError(Status.OUT_OF_RESOURCES, f"More than {count} answers: ask for less")
            count += 1
            yield Reply(response(self._request, status, data_set=True), self._encoded(answer, query.level))
        if not count and self._is_of_others(query):
            self._note("find outside", _detail(query))

    def _encoded(self, answer: Answer, level: Level) -> bytes:
        word = next(word for word, each in _LEVELS.items() if each is level)
        whole: dict[str, Any] = {
            **answer,
            f"{_LEVEL:08X}": {"vr": "CS", "Value": [word]},
            f"{_RETRIEVE_AE:08X}": {"vr": "AE", "Value": [self._service.own_ae]},
        }
        if not is_ascii(answer):
            whole[f"{_CHARACTER_SET:08X}"] = {"vr": "CS", "Value": [UTF_8]}
        return encode_attributes(whole, self._context.transfer_syntax)

    def _is_of_others(self, query: Query) -> bool:
        """Whether it named by UID what there is, and what this peer does not see."""
        named = any(isinstance(match, Equal) and key.tag == UNIQUE[Level.STUDY] for key, match in query.matches)
        if not named or self._service.peer.scope == EVERYTHING:
            return False
        with self._service.index.read() as connection:
            return total(connection, EVERYTHING, query) > 0

    def _note(self, action: str, detail: str) -> None:
        """A line of the audit trail, before anything is given. Values of keys are not in it: they may be names."""
        peer = self._service.peer
        with self._service.index.write() as connection:
            trail.record(
                connection,
                at=now_ms(),
                actor=f"{peer.name} ({peer.ae_title})",
                role="peer",
                address=peer.address,
                action=f"hub.{action}",
                detail=detail,
            )


def _detail(query: Query) -> str:
    """Level and keys of a question."""
    names = " ".join(keyword_for_tag(key.tag) for key, _ in query.matches)
    return f"{query.level.name.lower()} by {names or 'nothing'}"[:_DETAIL_MAX]
