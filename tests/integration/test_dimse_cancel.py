"""An operation of many responses hears what its peer says meanwhile: a cancel, a release, another message, silence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress

import pytest
from support.asking_scu import STUDY_ROOT, AskingScu
from support.processes import wait_for
from support.tiny_scu import pdu

from appliance.dimse.command import CommandSet, Field, response
from appliance.dimse.negotiation import Context, Offer
from appliance.dimse.policy import Caller
from appliance.dimse.server import DicomServer, Listening
from appliance.dimse.service import Cancellable, Reply, Service
from appliance.dimse.session import Limits
from appliance.dimse.status import Status

LIMITS = Limits(max_pdu_bytes=1 << 16, request_seconds=5, pdu_seconds=5, idle_seconds=30)


class Endless:
    """A service that answers until it is told to stop; and the application around it."""

    offer = Offer(lambda uid: uid == STUDY_ROOT)

    def __init__(self) -> None:
        self.abandoned = 0
        self.services: Mapping[int, Service] = {Field.C_FIND: self}

    def begin(self, context: Context, request: CommandSet) -> Cancellable:
        return _Answers(self, request)

    def knows(self, address: str) -> bool:
        return True

    def open(self, caller: Caller) -> Endless:
        return self

    def close(self) -> None:
        """Nothing is left."""


class _Answers:
    def __init__(self, service: Endless, request: CommandSet) -> None:
        self._service, self._request = service, request
        self._is_cancelled = False

    def write(self, fragment: bytes | memoryview) -> None:
        """Drops it."""

    def cancel(self) -> None:
        self._is_cancelled = True

    def abandon(self) -> None:
        self._service.abandoned += 1

    def finish(self) -> Iterable[Reply]:
        while not self._is_cancelled:
            yield Reply(response(self._request, Status.PENDING, data_set=True), b"an answer ")
        yield Reply(response(self._request, Status.CANCEL))


@contextmanager
def serving() -> Iterator[tuple[int, Endless]]:
    service = Endless()
    server = DicomServer([Listening("127.0.0.1", 0)], service, LIMITS, associations_max=4, per_peer_max=4)
    server.start()
    try:
        yield server.ports[0], service
    finally:
        server.stop()


def test_a_cancel_in_the_middle_of_endless_responses_ends_them():
    with serving() as (port, service), AskingScu(port) as scu:
        for _ in range(2):  # and the association goes on
            scu.begin(b"question")
            assert [scu.response().status for _ in range(50)] == [Status.PENDING] * 50
            scu.cancel(6)
            assert scu.response().status == Status.PENDING
            scu.cancel(7)
            while (status := scu.response().status) == Status.PENDING:
                pass
            assert status == Status.CANCEL
        assert service.abandoned == 0
        scu.socket.sendall(pdu(0x05, bytes(4)))
        assert scu.socket.recv(10)[:1] == b"\x06"


@pytest.mark.parametrize("last_words", [pdu(0x05, bytes(4)), pdu(0x07, bytes(4)), b"\xff" * 64, b""])
def test_who_releases_aborts_babbles_or_leaves_in_the_middle_ends_the_operation(last_words: bytes):
    with serving() as (port, service):
        with AskingScu(port) as scu:
            scu.begin(b"question")
            scu.response()
            scu.socket.sendall(last_words)
        wait_for(lambda: service.abandoned == 1, "the operation is abandoned")


def test_another_message_before_the_last_response_ends_the_association():
    with serving() as (port, service), AskingScu(port) as scu:
        scu.begin(b"question")
        scu.response()
        scu.begin(b"another", message=8)
        read_to_the_end(scu)
        wait_for(lambda: service.abandoned == 1, "the operation is abandoned")


def read_to_the_end(scu: AskingScu) -> None:
    """Until the server closes, or says something that is no response."""
    with suppress(ConnectionError):
        while scu.socket.recv(1 << 16):
            pass
