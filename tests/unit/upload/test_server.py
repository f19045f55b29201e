"""The server's side of tus 1.0.0, clause by clause, as values."""

from __future__ import annotations

import hashlib
import string
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.model.priority import Priority
from appliance.upload import headers as h
from appliance.upload import server as tus

LIMITS = tus.Limits(parcel_bytes_max=1000, uploads_max=2, partial_bytes_max=1500, keep_ms=86_400_000)
ROOM = tus.Usage(uploads=0, bytes=0, free_bytes=10_000)
STORED = tus.StoredUpload(length=100, offset=40, metadata="", last_byte_at=1_000)
DIGEST = "ab" * 32


def posting(**changed: str) -> dict[str, str]:
    metadata = h.parcel_metadata(DIGEST, "stat")
    return {h.LENGTH: "100", h.METADATA: metadata} | {k.replace("_", "-"): v for k, v in changed.items()}


def patching(**changed: str) -> dict[str, str]:
    usual = {h.OFFSET: "40", "Content-Type": h.CONTENT_TYPE, "Content-Length": "60"}
    return usual | {k.replace("_", "-"): v for k, v in changed.items()}


def status_of(call: object, *arguments: object) -> int:
    with pytest.raises(tus.TusError) as caught:
        call(*arguments)  # type: ignore[operator]
    assert caught.value.answer.message
    return caught.value.answer.status


def test_options_says_version_extensions_algorithms_and_the_largest_upload():
    answer = tus.answer_options(LIMITS)
    assert answer.status == 204
    assert answer.headers == {
        "Tus-Version": "1.0.0",
        "Tus-Extension": "creation,checksum,termination,expiration",
        "Tus-Checksum-Algorithm": "sha1,sha256",
        "Tus-Max-Size": "1000",
    }


@pytest.mark.parametrize("method", ["POST", "HEAD", "PATCH", "DELETE"])
@pytest.mark.parametrize("headers", [{}, {"Tus-Resumable": "0.2.2"}, {"Tus-Resumable": "1.0.0 "}])
def test_another_version_of_tus_is_412_with_the_version_that_is_spoken(method: str, headers: dict[str, str]):
    with pytest.raises(tus.TusError) as caught:
        tus.check_version(method, headers)
    assert caught.value.answer.status == 412
    assert caught.value.answer.headers == {"Tus-Version": "1.0.0"}


def test_the_right_version_passes_and_options_needs_none():
    tus.check_version("PATCH", {"Tus-Resumable": "1.0.0"})
    tus.check_version("OPTIONS", {})


@pytest.mark.parametrize(
    ("method", "override", "effective"),
    [
        ("POST", "PATCH", "PATCH"),
        ("POST", "DELETE", "DELETE"),
        ("POST", "HEAD", "HEAD"),
        ("POST", "TRACE", "POST"),
        ("POST", "patch", "POST"),
        ("HEAD", "DELETE", "HEAD"),
        ("PATCH", "", "PATCH"),
    ],
)
def test_a_post_may_stand_for_a_method_that_a_proxy_does_not_let_through(method: str, override: str, effective: str):
    assert tus.effective_method(method, {tus.METHOD_OVERRIDE: override}) == effective


def test_a_creation_says_length_parcel_and_priority():
    creation = tus.read_creation(posting(), LIMITS)
    assert (creation.length, creation.parcel, creation.priority) == (100, DIGEST, Priority.STAT)


def test_another_client_may_say_less():
    creation = tus.read_creation({h.LENGTH: "1"}, LIMITS)
    assert (creation.parcel, creation.priority, creation.metadata) == (None, Priority.ROUTINE, "")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 400),
        (posting(Upload_Length="-1"), 400),
        (posting(Upload_Length="1e3"), 400),
        (posting(Upload_Length="0"), 400),
        (posting(Upload_Length="9" * 400), 400),
        (posting(Upload_Length="1001"), 413),
        (posting(Upload_Defer_Length="1"), 400),
        (posting(Upload_Concat="partial"), 400),
        (posting(Upload_Metadata="parcel " + b64encode(b"../../etc/passwd").decode()), 400),
        (posting(Upload_Metadata="parcel " + b64encode(DIGEST.upper().encode()).decode()), 400),
        (posting(Upload_Metadata="parcel !"), 400),
        (posting(Upload_Metadata="priority " + b64encode(b"at once").decode()), 400),
        (posting(Upload_Metadata="a," * 3000), 400),
    ],
)
def test_a_creation_that_can_not_be_used_is_refused(headers: dict[str, str], status: int):
    assert status_of(tus.read_creation, headers, LIMITS) == status


@pytest.mark.parametrize(
    ("usage", "status"),
    [
        (tus.Usage(uploads=2, bytes=0, free_bytes=10_000), 429),
        (tus.Usage(uploads=1, bytes=1401, free_bytes=10_000), 429),
        (tus.Usage(uploads=0, bytes=0, free_bytes=99), 507),
        (tus.Usage(uploads=0, bytes=0, free_bytes=-5), 507),
    ],
)
def test_a_ceiling_that_is_reached_says_when_to_come_back(usage: tus.Usage, status: int):
    creation = tus.read_creation(posting(), LIMITS)
    with pytest.raises(tus.TusError) as caught:
        tus.check_room(creation, usage, LIMITS)
    assert caught.value.answer.status == status
    assert int(caught.value.answer.headers["Retry-After"]) > 0


def test_up_to_the_ceiling_there_is_room():
    creation = tus.read_creation(posting(), LIMITS)
    tus.check_room(creation, tus.Usage(uploads=1, bytes=1400, free_bytes=100), LIMITS)


def test_created_says_where_how_far_and_until_when():
    answer = tus.answer_created(STORED, "http://hub/v1/uploads/x", LIMITS)
    assert answer.status == 201
    assert answer.headers["Location"] == "http://hub/v1/uploads/x"
    assert answer.headers[h.OFFSET] == "40"
    assert h.parse_date(h.EXPIRES, answer.headers[h.EXPIRES]) == 86_401_000


def test_head_gives_the_durable_offset_and_is_never_cached():
    stored = tus.StoredUpload(100, 40, "parcel YQ==", 1_000)
    answer = tus.answer_head(stored, LIMITS)
    assert answer.status == 200
    assert answer.headers[h.OFFSET] == "40"
    assert answer.headers[h.LENGTH] == "100"
    assert answer.headers[h.METADATA] == "parcel YQ=="
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (patching(Content_Type="application/octet-stream"), 415),
        (patching(Content_Encoding="gzip"), 415),
        (patching(Upload_Offset="x"), 400),
        (patching(Upload_Offset="-1"), 400),
        ({k: v for k, v in patching().items() if k != h.OFFSET}, 400),
        (patching(Upload_Checksum="md5 " + b64encode(bytes(16)).decode()), 400),
        (patching(Upload_Checksum="sha1 " + b64encode(bytes(19)).decode()), 400),
        (patching(Upload_Checksum="sha1"), 400),
    ],
)
def test_a_patch_with_a_bad_header_is_refused(headers: dict[str, str], status: int):
    assert status_of(tus.read_patch, headers) == status


def test_a_patch_may_be_chunked_and_have_a_checksum():
    digest = hashlib.sha256(b"x").digest()
    headers = patching(Upload_Checksum="sha256 " + b64encode(digest).decode())
    del headers["Content-Length"]
    patch = tus.read_patch(headers)
    assert (patch.offset, patch.length, patch.checksum) == (40, None, h.Checksum("sha256", digest))


def test_a_patch_at_another_offset_is_409_and_told_the_true_one():
    with pytest.raises(tus.TusError) as caught:
        tus.check_patch(tus.Patch(39, 1, None), STORED, ROOM)
    assert caught.value.answer.status == 409
    assert caught.value.answer.headers[h.OFFSET] == "40"


def test_a_patch_over_the_end_is_413_before_a_byte_is_read():
    tus.check_patch(tus.Patch(40, 60, None), STORED, ROOM)
    assert status_of(tus.check_patch, tus.Patch(40, 61, None), STORED, ROOM) == 413


def test_a_full_disk_refuses_bytes_but_not_the_end_of_what_is_whole():
    full = tus.Usage(0, 0, 0)
    assert status_of(tus.check_patch, tus.Patch(40, 1, None), STORED, full) == 507
    whole = tus.StoredUpload(100, 100, "", 0)
    tus.check_patch(tus.Patch(100, 0, None), whole, full)


@given(st.lists(st.binary(max_size=40), max_size=8), st.sampled_from(["sha1", "sha256"]))
def test_a_body_passes_with_its_own_checksum_and_no_other(chunks: list[bytes], algorithm: str):
    body = b"".join(chunks)
    digest = hashlib.new(algorithm, body).digest()
    stored = tus.StoredUpload(len(body), 0, "", 0)
    for claimed, fine in ((digest, True), (bytes(len(digest)), False)):
        check = tus.BodyCheck(tus.Patch(0, None, h.Checksum(algorithm, claimed)), stored)
        for chunk in chunks:
            check.take(chunk)
        if fine:
            check.finish()
        else:
            assert status_of(check.finish) == 460


@given(st.integers(0, 100), st.lists(st.integers(0, 60), max_size=6))
def test_no_body_runs_over_the_end_however_it_is_cut(offset: int, sizes: list[int]):
    check = tus.BodyCheck(tus.Patch(offset, None, None), tus.StoredUpload(100, offset, "", 0))
    taken = offset
    for size in sizes:
        if taken + size > 100:
            assert status_of(check.take, bytes(size)) == 413
            return
        check.take(bytes(size))
        taken += size
    assert taken <= 100


@given(st.dictionaries(st.sampled_from([*tus.SINGLE, "Content-Length", "Upload-Concat"]), st.text(string.printable)))
def test_no_header_however_hostile_does_more_than_refuse(headers: dict[str, str]):
    for read in (lambda: tus.read_creation(headers, LIMITS), lambda: tus.read_patch(headers)):
        try:
            read()
        except tus.TusError as error:
            assert error.answer.status in {400, 413, 415}  # noqa: PT017 - no error at all is fine too
