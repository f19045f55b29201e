"""What a verdict means: only receipts that are ours deliver; everything else is sent or packed again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.model.receipt import ParcelVerdict, Receipt, Refusal, Verdict
from appliance.model.retry import CONTENT_FAULTS_MAX
from appliance.store_forward.verdicts import Ours, Settlement, Step, settle

PARCEL = "ab" * 32


def ours(*numbers: int) -> list[Ours]:
    return [Ours(instance=n, sop_instance_uid=f"1.2.{n}", digest=f"{n:064x}") for n in numbers]


def receipt(number: int, **values: object) -> Receipt:
    fields: dict[str, object] = {
        "sop_instance_uid": f"1.2.{number}",
        "digest": f"{number:064x}",
        "held_at": 1000 + number,
    }
    return Receipt(**(fields | values))  # type: ignore[arg-type]


def verified(*receipts: Receipt) -> ParcelVerdict:
    return ParcelVerdict(parcel=PARCEL, verdict=Verdict.VERIFIED, receipts=receipts)


def refused(refusal: Refusal | None) -> ParcelVerdict:
    return ParcelVerdict(parcel=PARCEL, verdict=Verdict.REFUSED, refusal=refusal)


def test_receipts_for_all_of_it_deliver_it_in_any_order_and_number() -> None:
    settlement = settle(verified(receipt(2), receipt(1), receipt(2), receipt(9)), ours(1, 2))
    assert settlement.step is Step.DELIVER
    assert [(held.instance, held.held_at) for held in settlement.held] == [(1, 1001), (2, 1002)]
    assert not settlement.faulty


@pytest.mark.parametrize(
    "lie",
    [
        receipt(2, digest="0" * 64),
        receipt(2, digest=f"{1:064x}"),
        receipt(2, sop_instance_uid="1.2.1"),
        receipt(2, digest=f"{2:064X}".replace("2", "3")),
        receipt(2, digest=""),
        receipt(1),
    ],
)
def test_a_receipt_that_is_not_ours_is_never_believed(lie: Receipt) -> None:
    settlement = settle(verified(receipt(1), lie), ours(1, 2))
    assert [held.instance for held in settlement.held] == [1]
    assert (settlement.step, settlement.faulty, settlement.counts) == (Step.PACK_PLAIN, True, True)


def test_two_instances_under_one_uid_need_a_receipt_each() -> None:
    same = [Ours(instance=n, sop_instance_uid="1.2.1", digest=f"{n:064x}") for n in (1, 2)]
    both = verified(receipt(1), receipt(2, sop_instance_uid="1.2.1", conflict=True))
    assert settle(both, same).step is Step.DELIVER
    assert [held.conflict for held in settle(both, same).held] == [False, True]
    assert settle(verified(receipt(1)), same).step is Step.PACK_PLAIN


def test_until_the_hub_is_done_the_unit_waits_and_what_it_lacks_is_sent_again() -> None:
    for word, step in (
        (Verdict.CHECKING, Step.WAIT),
        (Verdict.UNKNOWN, Step.SEND_AGAIN),
        (Verdict.PARTIAL, Step.SEND_AGAIN),
    ):
        assert settle(ParcelVerdict(parcel=PARCEL, verdict=word), ours(1)) == Settlement(step=step)


@pytest.mark.parametrize(
    ("refusal", "step"),
    [
        (Refusal.FORMAT, Step.PACK_PLAIN),
        (Refusal.INSTANCE, Step.PACK_PLAIN),
        (None, Step.PACK_PLAIN),
        (Refusal.DICTIONARY, Step.PACK_WITHOUT_DICTIONARY),
    ],
)
def test_what_the_hub_can_not_use_is_packed_anew_and_counts(refusal: Refusal | None, step: Step) -> None:
    settlement = settle(refused(refusal), ours(1))
    assert (settlement.step, settlement.counts, settlement.held) == (step, True, ())
    assert settlement.refusal


def test_a_wrong_digest_sends_a_good_file_again_and_packs_a_bad_one_anew() -> None:
    again = [
        settle(refused(Refusal.DIGEST), ours(1), refusals=n, file_is_good=True).step for n in range(CONTENT_FAULTS_MAX)
    ]
    assert again == [Step.SEND_AGAIN, Step.SEND_AGAIN, Step.PACK_PLAIN]
    bad = settle(refused(Refusal.DIGEST), ours(1), file_is_good=False)
    assert (bad.step, bad.counts) == (Step.PACK_AGAIN, False)


@given(
    st.lists(st.integers(1, 6), unique=True),
    st.lists(st.builds(receipt, st.integers(1, 8), digest=st.sampled_from([f"{n:064x}" for n in range(9)]))),
)
def test_nothing_is_delivered_without_its_own_receipt(numbers: list[int], receipts: list[Receipt]) -> None:
    settlement = settle(verified(*receipts), ours(*numbers))
    given_out = {(r.sop_instance_uid, r.digest) for r in receipts}
    for own in ours(*numbers):
        held = own.instance in {h.instance for h in settlement.held}
        assert held == ((own.sop_instance_uid, own.digest) in given_out)
    assert (settlement.step is Step.DELIVER) == (len(settlement.held) == len(numbers))
