"""PDUs against pynetdicom's own classes in both directions, and against any bytes."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pynetdicom import pdu as oracle
from pynetdicom.pdu_primitives import ImplementationClassUIDNotification, MaximumLengthNotification

from appliance.dimse import pdu
from appliance.errors import UpperLayerError

UIDS = st.from_regex(r"1\.2(\.(0|[1-9][0-9]{0,6})){1,6}", fullmatch=True)
AE_TITLES = st.from_regex(r"[A-Z0-9_]([A-Z0-9_ ]{0,14}[A-Z0-9_])?", fullmatch=True)
IDS = st.integers(0, 127).map(lambda number: 2 * number + 1)
USERS = st.builds(
    pdu.UserInformation,
    max_length=st.integers(0, 2**32 - 1),
    implementation_class_uid=UIDS,
    implementation_version_name=st.from_regex(r"[A-Z0-9_]{1,16}", fullmatch=True),
)
PROPOSED = st.builds(pdu.ProposedContext, IDS, UIDS, st.lists(UIDS, min_size=1, max_size=4).map(tuple))
REQUESTS = st.builds(
    pdu.AssociateRequest,
    AE_TITLES,
    AE_TITLES,
    st.lists(PROPOSED, min_size=1, max_size=8, unique_by=lambda context: context.id).map(tuple),
    USERS,
)
RESULTS = st.builds(pdu.ContextResult, IDS, st.integers(0, 4), UIDS)
ACCEPTS = st.builds(
    pdu.AssociateAccept,
    AE_TITLES,
    AE_TITLES,
    st.lists(RESULTS, min_size=1, max_size=8, unique_by=lambda result: result.id).map(tuple),
    USERS,
)
VALUES = st.builds(pdu.PresentationValue, st.integers(0, 255), st.booleans(), st.booleans(), st.binary(max_size=200))
TRANSFERS = st.lists(VALUES, min_size=1, max_size=5).map(lambda values: pdu.DataTransfer(tuple(values)))
REJECTS = st.builds(pdu.AssociateReject, st.integers(1, 2), st.integers(1, 3), st.integers(1, 2))
ABORTS = st.builds(pdu.Abort, st.sampled_from([0, 2]), st.sampled_from([0, 1, 2, 4, 5, 6]))
ALL = st.one_of(
    REQUESTS, ACCEPTS, TRANSFERS, REJECTS, ABORTS, st.just(pdu.ReleaseRequest()), st.just(pdu.ReleaseReply())
)
ORACLES: dict[int, Any] = {
    pdu.ASSOCIATE_RQ: oracle.A_ASSOCIATE_RQ,
    pdu.ASSOCIATE_AC: oracle.A_ASSOCIATE_AC,
    pdu.ASSOCIATE_RJ: oracle.A_ASSOCIATE_RJ,
    pdu.P_DATA: oracle.P_DATA_TF,
    pdu.RELEASE_RQ: oracle.A_RELEASE_RQ,
    pdu.RELEASE_RP: oracle.A_RELEASE_RP,
    pdu.ABORT: oracle.A_ABORT_RQ,
}


def whole(data: bytes) -> pdu.Pdu:
    """Header and body, as a reader of a socket would take them."""
    kind, length = pdu.parse_header(data[:6], len(data))
    assert length == len(data) - 6
    return pdu.decode(kind, data[6:])


def plain(value: pdu.Pdu) -> pdu.Pdu:
    """With the views of fragments made bytes, so that they compare."""
    if isinstance(value, pdu.DataTransfer):
        values = (pdu.PresentationValue(v.context_id, v.is_command, v.is_last, bytes(v.data)) for v in value.values)
        return pdu.DataTransfer(tuple(values))
    return value


@given(ALL)
def test_every_pdu_comes_back_as_it_was(value: pdu.Pdu) -> None:
    assert plain(whole(pdu.encode(value))) == value


@given(ALL)
def test_pynetdicom_reads_what_we_write_and_writes_it_the_same(value: pdu.Pdu) -> None:
    ours = pdu.encode(value)
    theirs = ORACLES[ours[0]]()
    theirs.decode(ours)
    assert theirs.encode() == ours
    assert plain(whole(theirs.encode())) == value


@given(REQUESTS)
def test_pynetdicom_understands_a_request_as_we_meant_it(request: pdu.AssociateRequest) -> None:
    theirs = oracle.A_ASSOCIATE_RQ()
    theirs.decode(pdu.encode(request))
    primitive = theirs.to_primitive()
    assert (primitive.calling_ae_title, primitive.called_ae_title) == (request.calling_ae, request.called_ae)
    proposed = primitive.presentation_context_definition_list
    assert [(c.context_id, c.abstract_syntax, tuple(c.transfer_syntax)) for c in proposed] == [
        (c.id, c.abstract_syntax, tuple(dict.fromkeys(c.transfer_syntaxes))) for c in request.contexts
    ]
    told = {type(item): item for item in primitive.user_information}
    assert told[MaximumLengthNotification].maximum_length_received == request.user.max_length
    assert told[ImplementationClassUIDNotification].implementation_class_uid == request.user.implementation_class_uid


@given(st.integers(0, 255), st.binary(max_size=400))
def test_any_body_is_a_pdu_or_our_error(kind: int, body: bytes) -> None:
    try:
        pdu.decode(kind, body)
    except UpperLayerError:
        return


@given(ALL, st.data())
def test_a_damaged_pdu_is_a_pdu_or_our_error(value: pdu.Pdu, data: st.DataObject) -> None:
    body = bytearray(pdu.encode(value)[6:])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, max(0, len(body) - 1)))
        if data.draw(st.booleans()):
            del body[at:]
        elif at < len(body):
            body[at] = data.draw(st.integers(0, 255))
    try:
        decoded = pdu.decode(pdu.encode(value)[0], bytes(body))
    except UpperLayerError:
        return
    assert type(decoded) is type(value)


@given(st.binary(min_size=6, max_size=6), st.integers(0, 1 << 20))
def test_any_header_is_within_the_limit_or_our_error(head: bytes, limit: int) -> None:
    try:
        kind, length = pdu.parse_header(head, limit)
    except UpperLayerError:
        return
    assert 1 <= kind <= 7
    assert length <= limit


@pytest.mark.parametrize(
    ("head", "why"),
    [
        (struct.pack(">BBL", 1, 0, 1 << 30), "over the limit"),
        (struct.pack(">BBL", 4, 0, 1001), "over the limit"),
        (struct.pack(">BBL", 0, 0, 4), "no PDU of type 0"),
        (struct.pack(">BBL", 0x47, 0, 4), "no PDU of type 71"),
        (struct.pack(">BBL", 5, 0, 5), "not 4"),
        (b"\x07\x00\x00\x00\x00\x00", "not 4"),
    ],
)
def test_a_header_is_judged_before_its_body_is_read(head: bytes, why: str) -> None:
    with pytest.raises(UpperLayerError, match=why):
        pdu.parse_header(head, 1000)


def test_a_fragment_may_not_claim_more_than_its_pdu_holds() -> None:
    with pytest.raises(UpperLayerError, match="claims"):
        pdu.decode(pdu.P_DATA, struct.pack(">LBB", 100, 1, 3) + b"few")


def test_a_request_that_numbers_two_contexts_alike_is_refused() -> None:
    context = pdu.ProposedContext(1, "1.2.3", ("1.2.4",))
    with pytest.raises(UpperLayerError, match="twice"):
        whole(pdu.encode(pdu.AssociateRequest("A", "B", (context, context))))


def test_an_even_context_number_is_refused() -> None:
    context = pdu.ProposedContext(2, "1.2.3", ("1.2.4",))
    with pytest.raises(UpperLayerError, match="odd"):
        whole(pdu.encode(pdu.AssociateRequest("A", "B", (context,))))


def test_a_uid_of_ten_thousand_bytes_in_a_request_is_refused() -> None:
    context = pdu.ProposedContext(1, "../" * 3334, ("1.2.4",))
    with pytest.raises(UpperLayerError, match="A UID of 10002 bytes"):
        whole(pdu.encode(pdu.AssociateRequest("A", "B", (context,))))


def test_unknown_items_are_ignored_and_unknown_user_items_are_kept() -> None:
    request = pdu.AssociateRequest(
        "A", "B", (pdu.ProposedContext(1, "1.2.3", ("1.2.4",)),), pdu.UserInformation(other=((0x54, b"role"),))
    )
    data = bytearray(pdu.encode(request))
    data[74:74] = struct.pack(">BBH", 0x99, 0, 3) + b"new"
    data[2:6] = struct.pack(">L", len(data) - 6)
    assert whole(bytes(data)) == request


def test_an_ae_title_longer_than_the_field_is_not_encoded() -> None:
    with pytest.raises(UpperLayerError, match="at most 16"):
        pdu.encode(pdu.AssociateRequest("A" * 17, "B", ()))
