"""What is answered to a message by its command field."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from appliance.dimse import command
from appliance.dimse.command import RESPONSE, CommandSet, Element, Field
from appliance.dimse.negotiation import Context
from appliance.dimse.service import Answered, Operation, Reply, Verification, operation_for
from appliance.dimse.status import Status

CONTEXT = Context(1, "1.2.840.10008.1.1", "1.2.840.10008.1.2")


def request(field: int) -> CommandSet:
    return CommandSet({Element.COMMAND_FIELD: field, Element.MESSAGE_ID: 5, Element.DATA_SET_TYPE: 1})


def statuses(operation: Operation) -> list[int | None]:
    operation.write(b"drained")
    return [reply.command.number(Element.STATUS) for reply in operation.finish()]


def test_an_echo_succeeds() -> None:
    assert statuses(operation_for({Field.C_ECHO: Verification()}, CONTEXT, request(Field.C_ECHO))) == [Status.SUCCESS]


@pytest.mark.parametrize("field", [Field.C_FIND, Field.C_MOVE, Field.N_ACTION, 0x0666])
def test_an_operation_that_nobody_does_is_unrecognized(field: int) -> None:
    assert statuses(operation_for({}, CONTEXT, request(field))) == [Status.UNRECOGNIZED_OPERATION]


@pytest.mark.parametrize("field", [Field.C_CANCEL, Field.C_ECHO | RESPONSE])
def test_a_cancel_and_a_response_get_no_answer(field: int) -> None:
    assert statuses(operation_for({Field.C_ECHO: Verification()}, CONTEXT, request(field))) == []


def test_a_service_may_answer_more_than_once_and_with_data_sets() -> None:
    class Search:
        def begin(self, context: Context, asked: CommandSet) -> Operation:
            return Found(asked)

    class Found(Answered):
        def __init__(self, asked: CommandSet) -> None:
            super().__init__(asked, Status.SUCCESS)
            self._asked = asked

        def finish(self) -> Iterable[Reply]:
            yield Reply(command.response(self._asked, 0xFF00), b"match")
            yield from super().finish()

    operation = operation_for({Field.C_FIND: Search()}, CONTEXT, request(Field.C_FIND))
    assert [(r.command.number(Element.STATUS), r.data_set) for r in operation.finish()] == [
        (0xFF00, b"match"),
        (0, b""),
    ]
