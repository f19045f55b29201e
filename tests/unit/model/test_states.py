"""Every state × event: legal as the tables say, refused otherwise."""

from __future__ import annotations

import itertools

import pytest

from appliance.model.states import (
    INSTANCE_TRANSITIONS,
    PARCEL_TRANSITIONS,
    IllegalTransitionError,
    InstanceEvent,
    InstanceState,
    ParcelEvent,
    ParcelState,
    next_state,
    states_that_allow,
)

# What must hold of the tables, written apart from them: the states an event may ever lead to.
INSTANCE_LEADS_TO = {
    InstanceEvent.PACK: {InstanceState.PACKED},
    InstanceEvent.UNPACK: {InstanceState.RECEIVED},
    InstanceEvent.RECEIPT: {InstanceState.DELIVERED, InstanceState.REMOVED},
    InstanceEvent.QUARANTINE: {InstanceState.QUARANTINED},
    InstanceEvent.SEND_AGAIN: {InstanceState.RECEIVED},
    InstanceEvent.EXPIRE: {InstanceState.REMOVED},
}
PARCEL_LEADS_TO = {
    ParcelEvent.OPEN: {ParcelState.OPEN},
    ParcelEvent.COMPLETE: {ParcelState.UPLOADED},
    ParcelEvent.VERIFIED: {ParcelState.DELIVERED},
    ParcelEvent.REFUSE: {ParcelState.REFUSED},
    ParcelEvent.LOSE: {ParcelState.BUILT},
}


@pytest.mark.parametrize(("state", "event"), list(itertools.product(InstanceState, InstanceEvent)))
def test_an_instance_moves_where_its_event_leads_or_not_at_all(state: InstanceState, event: InstanceEvent) -> None:
    if (state, event) in INSTANCE_TRANSITIONS:
        assert next_state(INSTANCE_TRANSITIONS, state, event) in INSTANCE_LEADS_TO[event]
    else:
        with pytest.raises(IllegalTransitionError):
            next_state(INSTANCE_TRANSITIONS, state, event)


@pytest.mark.parametrize(("state", "event"), list(itertools.product(ParcelState, ParcelEvent)))
def test_a_parcel_moves_where_its_event_leads_or_not_at_all(state: ParcelState, event: ParcelEvent) -> None:
    if (state, event) in PARCEL_TRANSITIONS:
        assert next_state(PARCEL_TRANSITIONS, state, event) in PARCEL_LEADS_TO[event]
    else:
        with pytest.raises(IllegalTransitionError):
            next_state(PARCEL_TRANSITIONS, state, event)


def test_nothing_is_removed_without_a_receipt() -> None:
    to_removed = {before for (before, _), after in INSTANCE_TRANSITIONS.items() if after is InstanceState.REMOVED}
    assert to_removed == {InstanceState.DELIVERED, InstanceState.REMOVED}


def test_only_a_receipt_delivers() -> None:
    delivering = {event for (_, event), after in INSTANCE_TRANSITIONS.items() if after is InstanceState.DELIVERED}
    assert delivering == {InstanceEvent.RECEIPT}
    assert {event for (_, event), after in PARCEL_TRANSITIONS.items() if after is ParcelState.DELIVERED} == {
        ParcelEvent.VERIFIED
    }


def test_an_instance_is_delivered_by_a_receipt_from_every_state() -> None:
    assert set(states_that_allow(INSTANCE_TRANSITIONS, InstanceEvent.RECEIPT)) == set(InstanceState)


def test_no_state_of_an_instance_is_a_dead_end_but_removed() -> None:
    for state in set(InstanceState) - {InstanceState.REMOVED}:
        assert any(before is state and after is not state for (before, _), after in INSTANCE_TRANSITIONS.items())


def test_a_delivered_or_refused_parcel_stays_so() -> None:
    for (before, _), after in PARCEL_TRANSITIONS.items():
        if before in {ParcelState.DELIVERED, ParcelState.REFUSED}:
            assert after is before
