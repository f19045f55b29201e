"""The states of an instance and of a parcel on the unit, and every legal change between them.

One table each. `docs/architecture.md` shows the diagrams, which `./dev docs` draws from these tables.
The queue changes a state only through `next_state`, so a change that is not in a table can't happen.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, TypeVar


class InstanceState(StrEnum):
    RECEIVED = "received"  # durable in the spool, acknowledged to the modality
    PACKED = "packed"  # in a parcel, unpacked again and found equal
    DELIVERED = "delivered"  # the hub gave a receipt with our digest
    QUARANTINED = "quarantined"  # needs a person; the reason says what to do
    REMOVED = "removed"  # delivered, and its spool file went when the retention days were over


class InstanceEvent(StrEnum):
    PACK = "pack"
    UNPACK = "unpack"  # its parcel was refused or lost: pack it anew
    RECEIPT = "receipt"
    QUARANTINE = "quarantine"
    SEND_AGAIN = "send_again"  # a person asked
    EXPIRE = "expire"


class ParcelState(StrEnum):
    BUILT = "built"  # on this disk only
    OPEN = "open"  # has an upload at the hub; hub_offset bytes of it are safe there
    UPLOADED = "uploaded"  # all bytes are safe at the hub; waiting for its verdict
    DELIVERED = "delivered"  # every instance has its receipt; the file may go
    REFUSED = "refused"  # the hub could not use it; its instances were packed anew or quarantined


class ParcelEvent(StrEnum):
    OPEN = "open"
    COMPLETE = "complete"
    VERIFIED = "verified"
    REFUSE = "refuse"
    LOSE = "lose"  # the hub no longer knows the upload: start it anew


_I, _IE, _P, _PE = InstanceState, InstanceEvent, ParcelState, ParcelEvent

INSTANCE_TRANSITIONS: Final[dict[tuple[InstanceState, InstanceEvent], InstanceState]] = {
    (_I.RECEIVED, _IE.PACK): _I.PACKED,
    (_I.RECEIVED, _IE.QUARANTINE): _I.QUARANTINED,
    (_I.RECEIVED, _IE.RECEIPT): _I.DELIVERED,  # it came to the hub by another parcel or route
    (_I.PACKED, _IE.UNPACK): _I.RECEIVED,
    (_I.PACKED, _IE.RECEIPT): _I.DELIVERED,
    (_I.PACKED, _IE.QUARANTINE): _I.QUARANTINED,
    (_I.PACKED, _IE.SEND_AGAIN): _I.RECEIVED,
    (_I.QUARANTINED, _IE.SEND_AGAIN): _I.RECEIVED,
    (_I.QUARANTINED, _IE.RECEIPT): _I.DELIVERED,
    (_I.DELIVERED, _IE.SEND_AGAIN): _I.RECEIVED,
    (_I.DELIVERED, _IE.RECEIPT): _I.DELIVERED,  # receipts are idempotent
    (_I.DELIVERED, _IE.EXPIRE): _I.REMOVED,
    (_I.REMOVED, _IE.RECEIPT): _I.REMOVED,
}

PARCEL_TRANSITIONS: Final[dict[tuple[ParcelState, ParcelEvent], ParcelState]] = {
    (_P.BUILT, _PE.OPEN): _P.OPEN,
    (_P.BUILT, _PE.VERIFIED): _P.DELIVERED,
    (_P.BUILT, _PE.REFUSE): _P.REFUSED,
    (_P.BUILT, _PE.LOSE): _P.BUILT,
    (_P.OPEN, _PE.OPEN): _P.OPEN,
    (_P.OPEN, _PE.COMPLETE): _P.UPLOADED,
    (_P.OPEN, _PE.VERIFIED): _P.DELIVERED,
    (_P.OPEN, _PE.REFUSE): _P.REFUSED,
    (_P.OPEN, _PE.LOSE): _P.BUILT,
    (_P.UPLOADED, _PE.COMPLETE): _P.UPLOADED,
    (_P.UPLOADED, _PE.VERIFIED): _P.DELIVERED,
    (_P.UPLOADED, _PE.REFUSE): _P.REFUSED,
    (_P.UPLOADED, _PE.LOSE): _P.BUILT,
    (_P.DELIVERED, _PE.VERIFIED): _P.DELIVERED,
}

_State = TypeVar("_State", InstanceState, ParcelState)
_Event = TypeVar("_Event", InstanceEvent, ParcelEvent)


class IllegalTransitionError(Exception):
    """A programming error: nothing outside this process can cause it."""


def next_state(table: dict[tuple[_State, _Event], _State], state: _State, event: _Event) -> _State:
    """Returns the state after `event`; raises IllegalTransitionError when the table has no such row."""
    try:
        return table[state, event]
    except KeyError:
        raise IllegalTransitionError(f"{event} is not legal in state {state}") from None


def states_that_allow(table: dict[tuple[_State, _Event], _State], event: _Event) -> dict[_State, _State]:
    """The states in which `event` is legal, each with the state it leads to."""
    return {before: after for (before, by), after in table.items() if by == event}
