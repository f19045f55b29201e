"""The acceptor: every state with every PDU, and messages in whatever pieces they come."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.dimse import command, pdu
from appliance.dimse.association import (
    TRANSITIONS,
    Aborted,
    Acceptor,
    DataReceived,
    Event,
    Input,
    MessageStarted,
    Released,
    Requested,
    State,
)
from appliance.dimse.command import CommandSet, Element
from appliance.dimse.negotiation import VERIFICATION, storage_offer
from appliance.dimse.policy import CALLING_AE_NOT_RECOGNIZED
from appliance.errors import UpperLayerError

CT, EXPLICIT = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1"
REQUEST = pdu.AssociateRequest(
    "APPLIANCE",
    "CT1",
    (pdu.ProposedContext(1, CT, (EXPLICIT,)), pdu.ProposedContext(3, VERIFICATION, (EXPLICIT,))),
    pdu.UserInformation(16384, "1.2.3", "TEST"),
)
ECHO = CommandSet(
    {
        Element.COMMAND_FIELD: command.Field.C_ECHO,
        Element.MESSAGE_ID: 1,
        Element.DATA_SET_TYPE: command.NO_DATA_SET,
        Element.AFFECTED_SOP_CLASS_UID: VERIFICATION,
    }
)
STORE = CommandSet(
    {
        Element.COMMAND_FIELD: command.Field.C_STORE,
        Element.MESSAGE_ID: 2,
        Element.DATA_SET_TYPE: 1,
        Element.AFFECTED_SOP_CLASS_UID: CT,
        Element.AFFECTED_SOP_INSTANCE_UID: "1.2.3.4",
    }
)


def give(acceptor: Acceptor, what: pdu.Pdu) -> list[Event]:
    data = pdu.encode(what)
    return list(acceptor.receive(data[0], data[6:]))


def sent(acceptor: Acceptor) -> list[pdu.Pdu]:
    data, found = acceptor.data_to_send(), list[pdu.Pdu]()
    while data:
        kind, length = pdu.parse_header(data[:6], 1 << 20)
        found.append(pdu.decode(kind, data[6 : 6 + length]))
        data = data[6 + length :]
    return found


def opened() -> Acceptor:
    acceptor = Acceptor(max_pdu_bytes=65536)
    give(acceptor, REQUEST)
    acceptor.accept(storage_offer())
    acceptor.data_to_send()
    return acceptor


def in_state(state: State) -> Acceptor:
    acceptor = Acceptor(max_pdu_bytes=65536)
    if state is State.DECIDING:
        give(acceptor, REQUEST)
    elif state is State.OPEN:
        acceptor = opened()
    elif state is State.RELEASING:
        acceptor.state = state  # passed through within one call; nothing can be received in it
    elif state is State.CLOSING:
        give(acceptor, pdu.Abort(0))
    assert acceptor.state is state
    return acceptor


def fragments(message: CommandSet, data: bytes = b"", *, size: int = 100, context: int = 1) -> list[pdu.DataTransfer]:
    parts = []
    for is_command, raw in ((True, command.encode(message)), (False, data)):
        pieces = [raw[at : at + size] for at in range(0, len(raw), size)]
        for number, piece in enumerate(pieces):
            value = pdu.PresentationValue(context, is_command, number == len(pieces) - 1, piece)
            parts.append(pdu.DataTransfer((value,)))
    return parts


FROM_PEER = {
    Input.REQUEST: REQUEST,
    Input.DATA: fragments(ECHO, context=3)[0],
    Input.RELEASE: pdu.ReleaseRequest(),
    Input.PEER_ABORT: pdu.Abort(0),
}
OURS: dict[Input, Callable[[Acceptor], None]] = {
    Input.WE_ACCEPT: lambda acceptor: acceptor.accept(storage_offer()),
    Input.WE_REJECT: lambda acceptor: acceptor.reject(CALLING_AE_NOT_RECOGNIZED),
}


@pytest.mark.parametrize(("state", "by"), list(itertools.product(State, FROM_PEER)))
def test_every_pdu_in_every_state_is_in_the_table_or_is_answered_with_an_abort(state: State, by: Input) -> None:
    acceptor = in_state(state)
    after = TRANSITIONS.get((state, by))
    if after is None:
        with pytest.raises(UpperLayerError):
            give(acceptor, FROM_PEER[by])
        assert acceptor.state is State.CLOSING
        assert sent(acceptor) == ([] if state is State.CLOSING else [pdu.Abort(2, 6)])
    else:
        give(acceptor, FROM_PEER[by])
        assert acceptor.state is (State.CLOSING if by is Input.RELEASE else after)


@pytest.mark.parametrize(("state", "by"), list(itertools.product(State, OURS)))
def test_our_own_answers_are_bound_to_the_table_too(state: State, by: Input) -> None:
    acceptor = in_state(state)
    if (state, by) in TRANSITIONS:
        OURS[by](acceptor)
        assert acceptor.state is TRANSITIONS[state, by]
    else:
        with pytest.raises(UpperLayerError):
            OURS[by](acceptor)


@pytest.mark.parametrize(
    "what",
    [pdu.AssociateAccept("A", "B", ()), pdu.AssociateReject(1, 1, 1), pdu.ReleaseReply()],
)
def test_what_only_a_requestor_may_receive_is_answered_with_an_abort(what: pdu.Pdu) -> None:
    acceptor = opened()
    with pytest.raises(UpperLayerError, match="not for an acceptor"):
        give(acceptor, what)
    assert sent(acceptor) == [pdu.Abort(2, 6)]


def test_an_unknown_type_is_answered_with_its_own_reason() -> None:
    acceptor = opened()
    with pytest.raises(UpperLayerError):
        list(acceptor.receive(0x99, b""))
    assert sent(acceptor) == [pdu.Abort(2, 1)]


def test_a_request_is_answered_with_our_limit_and_its_own_titles() -> None:
    acceptor = Acceptor(max_pdu_bytes=65536)
    assert give(acceptor, REQUEST) == [Requested(REQUEST)]
    acceptor.accept(storage_offer())
    (answer,) = sent(acceptor)
    assert isinstance(answer, pdu.AssociateAccept)
    assert (answer.called_ae, answer.calling_ae, answer.user.max_length) == ("APPLIANCE", "CT1", 65536)
    assert [result.result for result in answer.results] == [0, 0]


def test_a_release_is_answered_at_once() -> None:
    acceptor = opened()
    assert give(acceptor, pdu.ReleaseRequest()) == [Released()]
    assert sent(acceptor) == [pdu.ReleaseReply()]


def test_an_abort_of_the_peer_is_told_and_not_answered() -> None:
    acceptor = opened()
    assert give(acceptor, pdu.Abort(2, 5)) == [Aborted(2, 5)]
    acceptor.abort()
    assert sent(acceptor) == []


@given(st.binary(min_size=1, max_size=500), st.integers(1, 60), st.data())
def test_a_message_is_the_same_in_whatever_pieces_it_comes(body: bytes, size: int, data: st.DataObject) -> None:
    acceptor = opened()
    values = [value for transfer in fragments(STORE, body, size=size) for value in transfer.values]
    events = list[Event]()
    while values:
        count = data.draw(st.integers(1, len(values)))
        events += give(acceptor, pdu.DataTransfer(tuple(values[:count])))
        del values[:count]
    assert isinstance(events[0], MessageStarted)
    assert events[0].command == STORE
    assert events[0].context.transfer_syntax == EXPLICIT
    pieces = [event for event in events[1:] if isinstance(event, DataReceived)]
    assert len(pieces) == len(events) - 1
    assert b"".join(bytes(piece.data) for piece in pieces) == body
    assert [piece.last for piece in pieces] == [False] * (len(pieces) - 1) + [True]


def test_two_messages_may_follow_in_one_pdu() -> None:
    acceptor = opened()
    first, second = fragments(ECHO, context=3), fragments(ECHO, context=3)
    events = give(acceptor, pdu.DataTransfer(first[0].values + second[0].values))
    assert [type(event) for event in events] == [MessageStarted, MessageStarted]


@pytest.mark.parametrize(
    "transfers",
    [
        pytest.param([pdu.DataTransfer((pdu.PresentationValue(1, False, True, b"data"),))], id="data without command"),
        pytest.param(fragments(ECHO, context=9), id="context not accepted"),
        pytest.param([fragments(STORE)[0], fragments(ECHO, context=3)[0]], id="command inside a message"),
        pytest.param(
            [*fragments(STORE), pdu.DataTransfer((pdu.PresentationValue(3, False, False, b"x"),))], id="other context"
        ),
        pytest.param([*fragments(STORE, size=50)[:1], *fragments(ECHO, context=3)], id="two commands mixed"),
        pytest.param([pdu.DataTransfer((pdu.PresentationValue(1, True, True, b"junk"),))], id="no command set"),
    ],
)
def test_fragments_that_make_no_message_are_answered_with_an_abort(transfers: list[pdu.DataTransfer]) -> None:
    acceptor = opened()

    def give_all() -> None:
        for transfer in transfers:
            give(acceptor, transfer)

    with pytest.raises(UpperLayerError):
        give_all()
    assert sent(acceptor) == [pdu.Abort(2, 6)]


def test_a_command_set_without_end_is_cut_off_at_its_ceiling() -> None:
    acceptor = opened()
    piece = pdu.DataTransfer((pdu.PresentationValue(1, True, False, bytes(16000)),))
    for _ in range(4):
        give(acceptor, piece)
    with pytest.raises(UpperLayerError, match="over the limit"):
        give(acceptor, piece)


@given(st.integers(0, 40000), st.binary(max_size=5000))
def test_what_we_send_fits_the_pdus_that_the_peer_takes(peer_max: int, data_set: bytes) -> None:
    acceptor = Acceptor(max_pdu_bytes=65536)
    give(acceptor, pdu.AssociateRequest("A", "B", REQUEST.contexts, pdu.UserInformation(peer_max)))
    acceptor.accept(storage_offer())
    acceptor.data_to_send()
    acceptor.send_message(1, command.response(STORE, 0), data_set)
    values = [value for one in sent(acceptor) if isinstance(one, pdu.DataTransfer) for value in one.values]
    if peer_max >= 1024:
        assert all(len(value.data) + 6 <= peer_max for value in values)
    assert b"".join(bytes(value.data) for value in values if not value.is_command) == data_set
    assert [value.is_last for value in values].count(True) == (2 if data_set else 1)


@given(st.lists(st.tuples(st.integers(0, 9), st.binary(max_size=100)), max_size=6), st.sampled_from(list(State)))
def test_any_pdus_leave_a_legal_state_or_raise_our_error(pdus: list[tuple[int, bytes]], state: State) -> None:
    acceptor = in_state(state)
    for kind, body in pdus:
        try:
            list(acceptor.receive(kind, body))
        except UpperLayerError:
            assert acceptor.state is State.CLOSING
