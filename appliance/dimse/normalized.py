"""DIMSE-N messages with one data set and one answer (PS3.7 10.1): N-ACTION, N-CREATE, N-SET."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from appliance.dimse import command
from appliance.dimse.command import CommandSet
from appliance.dimse.negotiation import Context
from appliance.dimse.service import Reply
from appliance.dimse.status import Status
from appliance.errors import ApplianceError, DicomError
from appliance.logs import get_logger
from appliance.part10.attributes import Content, read_identifier, texts_of

DATA_SET_MAX: Final = 8 << 20  # bytes; 40,000 references are under 6 MB
ITEMS_MAX: Final = 40_000
_log = get_logger()


class RefusedError(Exception):
    """The request is answered with `status`; `offending` is the tag that is to blame."""

    def __init__(self, status: Status, comment: str, offending: int | None = None) -> None:
        super().__init__(comment)
        self.status, self.comment, self.offending = status, comment, offending


class Normalized:
    """One request. `answer` gets the attributes and the bytes when all is here; it may raise RefusedError.

    A data set that is too long, or can't be read to its end, never reaches it.
    """

    def __init__(
        self, context: Context, request: CommandSet, answer: Callable[[dict[str, Any], bytes], CommandSet]
    ) -> None:
        self._context, self._request, self._answer = context, request, answer
        self._data = bytearray()
        self._is_too_long = False

    def write(self, fragment: bytes | memoryview) -> None:
        """Takes a fragment; drains what is over the ceiling."""
        self._is_too_long = self._is_too_long or len(self._data) + len(fragment) > DATA_SET_MAX
        if self._is_too_long:
            self._data.clear()
        else:
            self._data += fragment

    def abandon(self) -> None:
        """Nothing of it is kept."""

    def finish(self) -> Iterable[Reply]:
        """The one response."""
        try:
            return (Reply(self._answered()),)
        except RefusedError as refused:
            self._note(refused)
            answer = command.response(self._request, refused.status, refused.comment, offending=refused.offending)
            return (Reply(answer),)

    def _answered(self) -> CommandSet:
        if self._is_too_long:
            raise RefusedError(Status.RESOURCE_LIMITATION, f"The data set is over {DATA_SET_MAX} bytes")
        if not self._request.has_data_set:
            raise RefusedError(Status.MISSING_ATTRIBUTE, "The request has no data set")
        data = bytes(self._data)
        try:
            content = read_identifier(data, self._context.transfer_syntax, items_max=ITEMS_MAX)
        except DicomError as error:
            raise RefusedError(Status.INVALID_ARGUMENT_VALUE, "The data set can't be read to its end") from error
        try:
            return self._answer(content, data)
        except ApplianceError as error:
            _log.error("request_failed", error_id=error.id, reason=error.message)
            raise RefusedError(Status.PROCESSING_FAILURE, error.message) from error

    def _note(self, refused: RefusedError) -> None:
        _log.warning("request_refused", status=f"0x{refused.status:04X}", reason=refused.comment)


def demanded(content: Content, tag: int, name: str) -> str:
    """The first value of a type 1 attribute. Raises RefusedError: 0x0120 without it, 0x0121 without a value."""
    if f"{tag:08X}" not in content:
        raise RefusedError(Status.MISSING_ATTRIBUTE, f"{name} is missing", tag)
    value = next(iter(texts_of(content, tag)), "")
    if not value:
        raise RefusedError(Status.MISSING_ATTRIBUTE_VALUE, f"{name} is empty", tag)
    return value
