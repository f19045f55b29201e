"""Who may associate, and for whom there is room."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.config import Modality
from appliance.dimse import policy
from appliance.dimse.pdu import AssociateReject, AssociateRequest
from appliance.dimse.policy import Caller, Room, room_for

MODALITIES = (
    Modality(name="CT room 1", ae_title="CT1", network="192.168.1.20"),
    Modality(name="Ultrasound", ae_title="US", network="192.168.2.0/24"),
    Modality(name="Portable", ae_title="US", network="10.0.0.0/8", priority="urgent"),
    Modality(name="New", ae_title="MR", network="2001:db8::/32"),
)


@pytest.mark.parametrize(
    ("calling", "address", "name"),
    [
        ("CT1", "192.168.1.20", "CT room 1"),
        ("CT1", "192.168.1.21", None),
        ("ct1", "192.168.1.20", None),  # PS3.5 6.2: AE titles are case-sensitive
        ("US", "192.168.2.200", "Ultrasound"),
        ("US", "10.1.2.3", "Portable"),
        ("MR", "2001:db8::7", "New"),
        ("MR", "192.168.1.20", None),
        ("", "192.168.1.20", None),
    ],
)
def test_a_modality_is_found_by_its_title_and_its_network_together(
    calling: str, address: str, name: str | None
) -> None:
    found = policy.modality_of(Caller(address, calling, "APPLIANCE"), MODALITIES)
    assert (found.name if found else None) == name


def test_an_address_is_known_when_any_modality_may_have_it() -> None:
    assert policy.is_configured("192.168.2.9", MODALITIES)
    assert not policy.is_configured("192.168.3.9", MODALITIES)


@pytest.mark.parametrize(
    ("raw", "plain"),
    [("10.0.0.1", "10.0.0.1"), ("::ffff:10.0.0.1", "10.0.0.1"), ("fe80::1%eth0", "fe80::1"), ("::1", "::1")],
)
def test_an_address_is_written_in_one_way(raw: str, plain: str) -> None:
    assert policy.plain_address(raw) == plain


def test_a_call_to_another_title_is_taken_only_when_any_is() -> None:
    caller = Caller("10.0.0.1", "US", "SOMEONE")
    assert not policy.called_right(caller, "APPLIANCE", accept_any=False)
    assert policy.called_right(caller, "APPLIANCE", accept_any=True)
    assert policy.called_right(Caller("10.0.0.1", "US", "APPLIANCE"), "APPLIANCE", accept_any=False)


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        (AssociateRequest("A", "B", ()), None),
        (AssociateRequest("A", "B", (), protocol_version=2), AssociateReject(1, 2, 2)),
        (AssociateRequest("A", "B", (), protocol_version=3), None),
        (AssociateRequest("A", "B", (), application_context="1.2.3"), AssociateReject(1, 1, 2)),
    ],
)
def test_another_protocol_is_rejected_with_its_own_reason(
    request_: AssociateRequest, answer: AssociateReject | None
) -> None:
    assert policy.protocol_fault(request_) == answer


ADDRESSES = st.sampled_from([f"10.0.0.{number}" for number in range(6)])


@given(st.lists(st.tuples(ADDRESSES, st.booleans()), max_size=200), st.integers(3, 48), st.integers(1, 60))
def test_no_peer_can_fill_the_house_nor_strangers_keep_a_modality_out(
    comings: list[tuple[str, bool]], total_max: int, per_peer_max: int
) -> None:
    known, open_ = {"10.0.0.1", "10.0.0.2"}, Counter[str]()
    for address, comes in comings:
        if comes and room_for(address, open_, total_max=total_max, per_peer_max=per_peer_max, known=known) is Room.YES:
            open_[address] += 1
        elif not comes and open_[address]:
            open_[address] -= 1
    assert open_.total() <= total_max
    assert all(count <= max(1, min(per_peer_max, total_max - 2)) for count in open_.values())
    assert sum(open_[address] for address in open_ if address not in known) <= max(1, total_max // 4)
    if open_.total() == open_["10.0.0.1"]:  # only one peer is here, however many times
        assert room_for("10.0.0.2", open_, total_max=total_max, per_peer_max=per_peer_max, known=known) is Room.YES


def test_the_peer_with_too_many_is_told_apart_from_a_full_house() -> None:
    open_ = {"a": 6, "b": 6, "c": 6, "d": 6}
    everyone = {*open_, "e"}
    assert room_for("a", open_, total_max=24, per_peer_max=6, known=everyone) is Room.PEER_FULL
    assert room_for("e", open_, total_max=24, per_peer_max=6, known=everyone) is Room.FULL
