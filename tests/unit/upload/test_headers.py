"""Headers of tus 1.0: what one end writes the other reads, and nothing hostile gets through."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.upload import headers

KEYS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters=","), min_size=1, max_size=20)


@given(st.dictionaries(KEYS, st.binary(max_size=60), max_size=8))
def test_metadata_comes_back_as_it_was_written(pairs: dict[str, bytes]) -> None:
    assert headers.parse_metadata(headers.encode_metadata(pairs)) == pairs


@given(st.text(max_size=200))
def test_any_metadata_is_read_or_refused(text: str) -> None:
    try:
        pairs = headers.parse_metadata(text)
    except headers.HeaderError:
        return
    assert headers.parse_metadata(headers.encode_metadata(pairs)) == pairs


@pytest.mark.parametrize(
    "text",
    [
        "parcel !!",
        "a YQ==,a YQ==",
        ",",
        "a YQ==,",
        "a b c",
        "k" + " ",
        "é YQ==",
        "a" * 5000,
        ",".join(f"k{n}" for n in range(40)),
    ],
)
def test_broken_metadata_is_refused(text: str) -> None:
    if text == "k ":
        assert headers.parse_metadata(text) == {"k": b""}
        return
    with pytest.raises(headers.HeaderError):
        headers.parse_metadata(text)


def test_parcel_metadata_names_digest_and_priority() -> None:
    pairs = headers.parse_metadata(headers.parcel_metadata("ab" * 32, "stat"))
    assert headers.parse_parcel(pairs) == "ab" * 32
    assert pairs[headers.PRIORITY_KEY] == b"stat"
    assert headers.parse_parcel({}) is None


@pytest.mark.parametrize("value", [b"", b"AB" * 32, b"ab" * 31, b"../" + b"a" * 61, b"\xff" * 64])
def test_a_parcel_digest_is_64_hex_digits_and_nothing_else(value: bytes) -> None:
    with pytest.raises(headers.HeaderError):
        headers.parse_parcel({"parcel": value})


@given(st.integers(0, headers.LARGEST))
def test_numbers_of_bytes_are_read(number: int) -> None:
    assert headers.parse_number(headers.OFFSET, str(number)) == number


@pytest.mark.parametrize("text", [None, "", "-1", "+1", " 1", "1.0", "0x1", "٣", "9" * 19, "1" * 5000])
def test_what_is_not_a_number_of_bytes_is_refused(text: str | None) -> None:
    with pytest.raises(headers.HeaderError):
        headers.parse_number(headers.OFFSET, text)


def test_checksums_are_of_a_known_algorithm_and_size() -> None:
    checksum = headers.Checksum("sha256", bytes(range(32)))
    assert headers.parse_checksum(headers.encode_checksum(checksum)) == checksum
    for text in ("md5 AAAA", "sha1", "sha1 AAAA", "sha256 ?", ""):
        with pytest.raises(headers.HeaderError):
            headers.parse_checksum(text)


@given(st.integers(0, 253402300799))
def test_dates_come_back_to_the_second(seconds: int) -> None:
    assert headers.parse_date(headers.EXPIRES, headers.encode_date(seconds * 1000 + 7)) == seconds * 1000


@given(st.text(max_size=40))
def test_any_date_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(headers.HeaderError):
        assert isinstance(headers.parse_date(headers.EXPIRES, text), int)


def test_retry_after_is_seconds_or_a_date() -> None:
    now = 1_700_000_000_000
    assert headers.parse_retry_after("7", now) == 7.0
    assert headers.parse_retry_after(headers.encode_date(now + 5000), now) == 5.0
    assert headers.parse_retry_after(headers.encode_date(now - 5000), now) == 0.0
    assert headers.parse_retry_after("soon", now) is None
    assert headers.parse_retry_after(None, now) is None
