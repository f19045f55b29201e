"""What the hub's verdict on a parcel means for the unit. Pure.

Only a receipt whose UID and digest are both ours makes an instance delivered (DESIGN invariant 2). A hub that answers
with anything else is not believed: those instances stay and are packed anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

import msgspec

from appliance.model.receipt import ParcelVerdict, Refusal, Verdict
from appliance.model.retry import CONTENT_FAULTS_MAX


class Step(StrEnum):
    """What to do with a parcel."""

    WAIT = "wait"  # the hub is not done
    DELIVER = "deliver"  # all of it has receipts
    SEND_AGAIN = "send again"  # the same bytes, from the first one or from where the hub says
    PACK_AGAIN = "pack again"  # nothing wrong with the packing; our file is damaged or the hub holds only a part
    PACK_PLAIN = "pack plain"  # the hub could not use the packing
    PACK_WITHOUT_DICTIONARY = "pack without dictionary"


class Ours(msgspec.Struct, frozen=True, kw_only=True):
    """An instance that is in the parcel, as this unit received it."""

    instance: int
    sop_instance_uid: str
    digest: str  # 64 hex digits


class Held(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A receipt that is believed."""

    instance: int
    held_at: int  # Unix ms, by the hub's clock
    conflict: bool


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """What follows from a verdict."""

    step: Step
    held: tuple[Held, ...] = ()
    faulty: bool = False  # the hub said what can't be true
    counts: bool = False  # a content fault, for the parcel or its instances
    refusal: str = ""


_BY_REFUSAL: Final = {
    Refusal.FORMAT: Step.PACK_PLAIN,
    Refusal.INSTANCE: Step.PACK_PLAIN,
    Refusal.DICTIONARY: Step.PACK_WITHOUT_DICTIONARY,
}


def settle(
    verdict: ParcelVerdict, ours: Sequence[Ours], *, refusals: int = 0, file_is_good: bool | None = None
) -> Settlement:
    """What follows from `verdict` on a parcel that holds `ours` and was wholly sent.

    `refusals`: how often this parcel was refused before. `file_is_good`: our file still has the parcel's digest; asked
    only after a refusal for its digest.
    """
    if verdict.verdict is Verdict.CHECKING:
        return Settlement(step=Step.WAIT)
    if verdict.verdict in {Verdict.UNKNOWN, Verdict.PARTIAL}:
        return Settlement(step=Step.SEND_AGAIN)
    if verdict.verdict is Verdict.REFUSED:
        return _after_refusal(verdict.refusal, refusals, file_is_good)
    held = _believed(verdict, ours)
    if len(held) == len(ours):
        return Settlement(step=Step.DELIVER, held=held)
    return Settlement(step=Step.PACK_PLAIN, held=held, faulty=True, counts=True, refusal="receipt")


def _after_refusal(refusal: Refusal | None, refusals: int, file_is_good: bool | None) -> Settlement:
    if refusal is None:
        return Settlement(step=Step.PACK_PLAIN, counts=True, refusal="none given")
    if refusal is not Refusal.DIGEST:
        return Settlement(step=_BY_REFUSAL[refusal], counts=True, refusal=str(refusal))
    if not file_is_good:  # our disk's fault: the instances themselves are checked when they are packed
        return Settlement(step=Step.PACK_AGAIN, refusal=str(refusal))
    step = Step.SEND_AGAIN if refusals + 1 < CONTENT_FAULTS_MAX else Step.PACK_PLAIN
    return Settlement(step=step, counts=True, refusal=str(refusal))


def _believed(verdict: ParcelVerdict, ours: Sequence[Ours]) -> tuple[Held, ...]:
    receipts = {(receipt.sop_instance_uid, receipt.digest): receipt for receipt in verdict.receipts}
    found = ((own, receipts.get((own.sop_instance_uid, own.digest))) for own in ours)
    return tuple(
        Held(instance=own.instance, held_at=receipt.held_at, conflict=receipt.conflict)
        for own, receipt in found
        if receipt is not None
    )
