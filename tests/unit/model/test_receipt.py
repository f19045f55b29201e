"""What a hub answers is read, or is none: no answer may end the process that asked."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.model.receipt import Hello, ParcelVerdict, Receipt, Verdict, read_answer

HELLO = b'{"hub":"H","version":"1","site":"s","time":1790000000000,"parcel_bytes_max":9,"uploads_max":4}'
VERIFIED = ParcelVerdict(
    parcel="00" * 32,
    verdict=Verdict.VERIFIED,
    receipts=(Receipt(sop_instance_uid="1.2", digest="11" * 32, held_at=1_790_000_000_000),),
)


def test_an_answer_comes_back_as_it_was() -> None:
    assert read_answer(msgspec.json.encode(VERIFIED), ParcelVerdict) == VERIFIED


def test_what_a_later_hub_adds_is_passed_over() -> None:
    assert read_answer(HELLO[:-1] + b',"board":"http://10.0.0.1/"}', Hello) == read_answer(HELLO, Hello) is not None


@pytest.mark.parametrize(
    "content",
    [
        HELLO.replace(b'"H"', b'"\xff"'),
        HELLO.replace(b'"H"', b'"\\ud800"'),
        HELLO[:-1] + b',"more":' + b"[" * 3000,
        HELLO.replace(b"1790000000000", b"9" * 40),
        HELLO.replace(b"1790000000000", b"18446744073709551615"),
        HELLO.replace(b"1790000000000", b"-1"),
        HELLO.replace(b"1790000000000", b"1e400"),
        b"",
        b"null",
    ],
)
def test_nonsense_is_no_answer(content: bytes) -> None:
    assert read_answer(content, Hello) is None


@given(st.integers().filter(lambda number: not 0 <= number <= 1 << 53))
def test_a_time_that_no_clock_shows_is_no_receipt(held_at: int) -> None:
    content = msgspec.json.encode(VERIFIED).replace(b"1790000000000", str(held_at).encode())
    assert read_answer(content, ParcelVerdict) is None


@given(st.binary())
def test_any_bytes_are_read_or_are_no_answer(content: bytes) -> None:
    assert read_answer(content, ParcelVerdict) is None or b"parcel" in content
