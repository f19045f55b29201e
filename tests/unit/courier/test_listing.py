"""The list of a stick and the hub's receipts: proved whose they are, to the last bit; no patient in clear."""

from __future__ import annotations

import json

import pytest

from appliance.courier import cipher, listing
from appliance.courier.faults import StickRefusedError
from appliance.courier.listing import Contents, StickFile, StudyFacts
from appliance.courier.seal import digest_of_secret
from appliance.hub.credentials import new_secret, parse_bearer
from appliance.model.receipt import ParcelVerdict, Receipt, Verdict

HUB_SECRET, HUB_KEY = cipher.new_key()
UNIT_SECRET, UNIT_KEY = cipher.new_key()
DIGEST = digest_of_secret("site-1.secret")
FILE = StickFile("ab" * 32, 100, 400, "cd" * 32)
STUDY = StudyFacts(
    study_instance_uid="1.2.3",
    patient_name="Phiri^Mary",
    patient_id="PID-77",
    accession_number="ACC-2026-1",
    study_date="20260101",
    study_description="Chest",
    priority="stat",
    instances=2,
    parcels=("ab" * 32,),
)
VERDICT = ParcelVerdict(
    parcel="ab" * 32,
    verdict=Verdict.VERIFIED,
    receipts=(Receipt(sop_instance_uid="1.2.3.4", digest="ef" * 32, held_at=5),),
)


def a_list(**changed: object) -> bytes:
    values = {"site": "site-1", "at": 1, "hub_key": HUB_KEY, "secret_digest": DIGEST} | changed
    return listing.write_list([FILE], Contents(reply_to=UNIT_KEY, studies=(STUDY,)), **values)  # type: ignore[arg-type]


def some_receipts() -> bytes:
    return listing.write_receipts([VERDICT], site="site-1", at=2, reply_to=UNIT_KEY, secret_digest=DIGEST)


def test_the_hub_reads_what_the_unit_wrote() -> None:
    cover, body = listing.read_cover(a_list(), site="site-1", secret_digest=DIGEST)
    assert (cover.parcels, cover.bytes, cover.files) == (1, 100, (FILE,))
    assert listing.read_contents(body, [HUB_SECRET]).studies == (STUDY,)


def test_the_unit_reads_what_the_hub_wrote() -> None:
    cover, found = listing.read_receipts(some_receipts(), site="site-1", secret_digest=DIGEST, secrets=[UNIT_SECRET])
    assert (cover.at, found.verdicts) == (2, (VERDICT,))


def test_in_clear_there_is_nothing_of_a_patient() -> None:
    written = a_list()
    line = json.loads(written.split(b"\n", 1)[0])
    assert set(line) == {
        *("format", "kind", "site", "at", "body_bytes", "body_sha256", "hub_key", "parcels", "bytes", "files")
    }
    for text in (b"Phiri", b"PID-77", b"1.2.3", b"Chest", b"ACC-2026-1"):
        assert text not in written
    assert b"1.2.3.4" not in some_receipts()


def test_a_bit_that_changed_anywhere_in_either_is_found() -> None:
    for content in (a_list(), some_receipts()):
        for at in range(len(content)):
            changed = bytearray(content)
            changed[at] ^= 1 << at % 8
            with pytest.raises(StickRefusedError):
                listing.read_cover(bytes(changed), site="site-1", secret_digest=DIGEST)
            with pytest.raises(StickRefusedError):
                listing.read_receipts(bytes(changed), site="site-1", secret_digest=DIGEST, secrets=[UNIT_SECRET])


@pytest.mark.parametrize("cut", [0, 1, 100, -1])
def test_a_cut_end_is_found(cut: int) -> None:
    with pytest.raises(StickRefusedError):
        listing.read_cover(a_list()[:cut], site="site-1", secret_digest=DIGEST)


def test_another_secret_or_another_site_is_refused() -> None:
    with pytest.raises(StickRefusedError, match="not sealed with the secret"):
        listing.read_cover(a_list(), site="site-1", secret_digest=digest_of_secret("site-1.another"))
    with pytest.raises(StickRefusedError, match="another site"):
        listing.read_cover(a_list(site="site-2"), site="site-1", secret_digest=DIGEST)


def test_a_list_is_not_taken_for_receipts_nor_the_reverse() -> None:
    with pytest.raises(StickRefusedError):
        listing.read_receipts(a_list(), site="site-1", secret_digest=DIGEST, secrets=[HUB_SECRET])
    with pytest.raises(StickRefusedError):
        listing.read_cover(some_receipts(), site="site-1", secret_digest=DIGEST)


def test_both_ends_make_the_same_of_a_secret() -> None:
    secret, kept = new_secret("site-1")
    shown = parse_bearer(f"Bearer {secret}")
    assert shown is not None
    assert digest_of_secret(secret) == kept == shown.secret_digest
