"""The sender of one tus 1.0 upload, sans-I/O: answers and faults in, the next request out.

    upload = Upload("/v1/uploads", length=parcel_bytes, metadata=parcel_metadata(digest, "stat"))
    while (request := upload.next_request()) is not None:
        ...                                # put it on a wire; its body is the bytes from request.offset on
        fault = upload.receive(answer)     # or upload.cut() when no answer came

The one rule behind the table: what is durable at the hub is known only from the hub. A PATCH starts at the offset that
the hub acknowledged last; after any doubt the hub is asked (HEAD) before another byte goes. Nothing that it holds is
sent again, and nothing is skipped. Works against any tus 1.0 server; ours opens the same upload for the same parcel.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from http import HTTPStatus
from typing import Final
from urllib.parse import urljoin, urlsplit

import msgspec

from appliance.model.retry import Fault
from appliance.upload import headers
from appliance.upload.headers import HeaderError


class State(StrEnum):
    NEW = "new"  # the hub knows nothing of it, as far as we know
    CREATING = "creating"  # POST is under way
    UNSURE = "unsure"  # it has an upload; what the hub holds of it must be asked
    ASKING = "asking"  # HEAD is under way
    READY = "ready"  # `offset` is what the hub holds
    SENDING = "sending"  # PATCH is under way
    FINISHED = "finished"  # the hub holds every byte
    LOST = "lost"  # the hub no longer knows the upload
    REJECTED = "rejected"  # the hub can't take these bytes


class Event(StrEnum):
    CREATE = "create"
    ASK = "ask"
    SEND = "send"
    OFFSET = "offset"  # the hub said what it holds: not all
    WHOLE = "whole"  # the hub said that it holds all
    DOUBT = "doubt"  # no answer, or one that leaves open what the hub holds
    GONE = "gone"
    REJECT = "reject"
    RESTART = "restart"


_S, _E = State, Event

TRANSITIONS: Final[dict[tuple[State, Event], State]] = {
    (_S.NEW, _E.CREATE): _S.CREATING,
    (_S.CREATING, _E.OFFSET): _S.READY,
    (_S.CREATING, _E.WHOLE): _S.FINISHED,
    (_S.CREATING, _E.DOUBT): _S.NEW,  # asking again is harmless: the same parcel is the same upload
    (_S.CREATING, _E.REJECT): _S.REJECTED,
    (_S.UNSURE, _E.ASK): _S.ASKING,
    (_S.ASKING, _E.OFFSET): _S.READY,
    (_S.ASKING, _E.WHOLE): _S.FINISHED,
    (_S.ASKING, _E.DOUBT): _S.UNSURE,
    (_S.ASKING, _E.GONE): _S.LOST,
    (_S.READY, _E.SEND): _S.SENDING,
    (_S.SENDING, _E.OFFSET): _S.READY,
    (_S.SENDING, _E.WHOLE): _S.FINISHED,
    (_S.SENDING, _E.DOUBT): _S.UNSURE,
    (_S.SENDING, _E.GONE): _S.LOST,
    (_S.SENDING, _E.REJECT): _S.REJECTED,
    (_S.LOST, _E.RESTART): _S.NEW,
    (_S.REJECTED, _E.RESTART): _S.NEW,
    (_S.FINISHED, _E.RESTART): _S.NEW,  # the hub has no memory of it after all
}

_TARGET = re.compile(r"/[\x21\x23-\x7e]{0,2000}", re.ASCII)
_NOT_THE_BYTES: Final = frozenset({401, 403, 404, 405, 406, 407, 412, 415, 426, 501, 505})


class ProtocolError(Exception):
    """A programming error of the caller: an event that the table does not allow."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A request to make. `target` is a path at the hub. With `offset` its body is the file's bytes from there on, else
    `content`.
    """

    method: str
    target: str
    headers: dict[str, str]
    offset: int | None = None
    content: bytes = b""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What came back: the status, and headers by lower-case name."""

    status: int
    headers: Mapping[str, str]
    now: int = 0  # Unix ms by our clock, for a `Retry-After` that is a date

    def header(self, name: str) -> str | None:
        """A header's value; None when it is absent."""
        return self.headers.get(name.lower())

    @property
    def retry_after(self) -> float | None:
        """Seconds that the hub asks to wait; None when it does not."""
        return headers.parse_retry_after(self.header(headers.RETRY_AFTER), self.now)


class Upload:
    """One upload as its sender knows it: `state`, `offset` acknowledged of `length`, and `target`, its path at the hub.

    `target` and `offset` may be remembered from an earlier life; the first request then asks the hub.
    """

    def __init__(self, endpoint: str, *, length: int, metadata: str, target: str = "", offset: int = 0) -> None:
        self.endpoint = endpoint
        self.length = length
        self.metadata = metadata
        self.target = target
        self.offset = offset
        self.state = State.UNSURE if target else State.NEW

    def next_request(self) -> Request | None:
        """The request to make now, which changes the state; None while an answer is awaited and at the end."""
        if self.state is State.NEW:
            self._apply(Event.CREATE)
            extra = {headers.LENGTH: str(self.length), headers.METADATA: self.metadata}
            return _request("POST", self.endpoint, extra)
        if self.state is State.UNSURE:
            self._apply(Event.ASK)
            return _request("HEAD", self.target, {})
        if self.state is State.READY:
            self._apply(Event.SEND)
            extra = {headers.OFFSET: str(self.offset), "Content-Type": headers.CONTENT_TYPE}
            return _request("PATCH", self.target, extra, self.offset)
        return None

    def terminate(self) -> Request | None:
        """The request that removes the upload at the hub; None when it has none. Its answer need not be told."""
        return _request("DELETE", self.target, {}) if self.target else None

    def cut(self) -> Fault:
        """No answer came to the request under way: connection failed, cut or timed out."""
        self._apply(Event.DOUBT)
        return Fault.LINK

    def receive(self, answer: Answer) -> Fault | None:
        """Takes the answer to the request under way; returns what was wrong, or None when it brought us further."""
        if self.state not in {State.CREATING, State.ASKING, State.SENDING}:
            raise ProtocolError(f"an answer in state {self.state}")
        if HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
            return self._receive_offset(answer)
        if answer.status in {HTTPStatus.NOT_FOUND, HTTPStatus.GONE} and self.state is not State.CREATING:
            self._apply(Event.GONE)
            return None
        fault = fault_of(answer.status)
        if (
            fault is Fault.CONTENT and self.state is State.ASKING
        ):  # a HEAD has no content: it is the upload that is wrong
            self._apply(Event.GONE)
        elif fault is Fault.CONTENT and answer.status != 460:
            self._apply(Event.REJECT)
        else:  # 460 (tus 1.0 §Checksum): the bytes were dropped at the hub, and may go again
            self._apply(Event.DOUBT)
        return fault

    def restart(self) -> None:
        """Starts anew from the first byte, after LOST, REJECTED, or FINISHED at a hub that has forgotten."""
        self._apply(Event.RESTART)
        self.target, self.offset = "", 0

    def _receive_offset(self, answer: Answer) -> Fault | None:
        try:
            offset = self._offset_in(answer)
            if self.state is State.CREATING:
                self.target = _target_of(self.endpoint, answer.header("Location"))
        except HeaderError:
            self._apply(Event.DOUBT)
            return Fault.LINK
        self.offset = offset
        self._apply(Event.WHOLE if offset == self.length else Event.OFFSET)
        return None

    def _offset_in(self, answer: Answer) -> int:
        """Raises HeaderError for an offset that this upload can't have. The hub may hold less than it did before: it
        may have been restored; it can't have more than the upload is long."""
        value = answer.header(headers.OFFSET)
        if value is None and self.state is State.CREATING:
            return 0  # plain tus 1.0 need not say it of a new upload
        offset = headers.parse_number(headers.OFFSET, value)
        if offset > self.length:
            raise HeaderError(f"{headers.OFFSET} is past the end")
        return offset

    def _apply(self, event: Event) -> None:
        try:
            self.state = TRANSITIONS[self.state, event]
        except KeyError:
            raise ProtocolError(f"{event} in state {self.state}") from None


def _request(method: str, target: str, extra: dict[str, str], offset: int | None = None) -> Request:
    return Request(
        method=method, target=target, headers={headers.RESUMABLE: headers.TUS_VERSION, **extra}, offset=offset
    )


def fault_of(status: int) -> Fault:
    """What an answer that is no success says is wrong."""
    if status in {408, 409, 499} or status < 400:  # 409: our offset was not the hub's; ask. A redirect is not followed
        return Fault.LINK
    if status in _NOT_THE_BYTES:
        return Fault.REFUSED
    if status in {423, 425, 429} or status >= 500:
        return Fault.BUSY
    return Fault.CONTENT


def _target_of(endpoint: str, location: str | None) -> str:
    """The path in `Location`, made absolute. Its host is ignored: we speak only to the hub that we were told of."""
    if not location or len(location) > 2000:
        raise HeaderError("Location is absent or too long")
    try:
        parts = urlsplit(urljoin(endpoint, location))
    except ValueError as error:
        raise HeaderError("Location is not a URL") from error
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    if not _TARGET.fullmatch(target):
        raise HeaderError("Location is not a path")
    return target
