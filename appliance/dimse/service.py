"""What a message does: a service for each command field, and the one that every DICOM node has.

A later service (C-FIND, C-MOVE, N-ACTION) is another entry in an association's table of services. An operation may
answer with several responses, each with a data set of its own: that is how a query answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from appliance.dimse import command
from appliance.dimse.command import RESPONSE, CommandSet, Field
from appliance.dimse.negotiation import Context
from appliance.dimse.status import Status


@dataclass(frozen=True, slots=True)
class Reply:
    """One response: its command set, and the data set in the context's transfer syntax when it has one."""

    command: CommandSet
    data_set: bytes = b""


class Operation(Protocol):
    """One message on its way in. The server calls `write` for each fragment, then `finish`; or `abandon`."""

    def write(self, fragment: bytes | memoryview) -> None:
        """Takes a fragment of the data set, in order. A failure is kept for `finish`: the rest is drained."""

    def finish(self) -> Iterable[Reply]:
        """The message is whole: the responses, in order."""

    def abandon(self) -> None:
        """The association ended in the middle: nothing of it may stay."""


@runtime_checkable
class Cancellable(Operation, Protocol):
    """An operation of many responses. Between two of them the server looks for what the peer says meanwhile."""

    def cancel(self) -> None:
        """The peer wants no more (C-CANCEL, PS3.7 9.3.2.3): the next response says so and is the last."""


class Service(Protocol):
    """Does the messages of one command field."""

    def begin(self, context: Context, request: CommandSet) -> Operation:
        """A message of this kind starts."""


class Answered:
    """An operation whose answer is known from the command alone; a data set is drained."""

    def __init__(self, request: CommandSet, status: int, comment: str = "") -> None:
        self._reply = Reply(command.response(request, status, comment))

    def write(self, fragment: bytes | memoryview) -> None:
        """Drops it."""

    def finish(self) -> Iterable[Reply]:
        """The one response."""
        return (self._reply,)

    def abandon(self) -> None:
        """There is nothing to undo."""


class Ignored:
    """A message that has no response: a response, or a C-CANCEL of what is already done (PS3.7 9.3.2.3)."""

    def write(self, fragment: bytes | memoryview) -> None:
        """Drops it."""

    def finish(self) -> Iterable[Reply]:
        """Nothing."""
        return ()

    def abandon(self) -> None:
        """There is nothing to undo."""


class Verification:
    """C-ECHO (PS3.7 9.1.5, PS3.4 annex A)."""

    def begin(self, context: Context, request: CommandSet) -> Operation:  # noqa: ARG002  (the protocol's shape)
        """Always succeeds."""
        return Answered(request, Status.SUCCESS)


def operation_for(services: Mapping[int, Service], context: Context, request: CommandSet) -> Operation:
    """The operation that this request asks for; one that we do not do is answered 0x0211 (PS3.7 C.5).

    A response is for the service of its command field, with the bit `RESPONSE`: who asks something has one.
    """
    service = services.get(request.field)
    if service is None and (request.field & RESPONSE or request.field == Field.C_CANCEL):
        return Ignored()
    if service is None:
        return Answered(request, Status.UNRECOGNIZED_OPERATION)
    return service.begin(context, request)
