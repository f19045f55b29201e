"""File meta information is written as PS3.10 7.1 has it, and read from hostile files without harm."""

from __future__ import annotations

import io

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import DicomError
from appliance.part10.meta import FileMeta, encode_prefix, read_prefix

UIDS = st.from_regex(r"[1-9](\.[0-9]{1,9}){1,5}", fullmatch=True)


@given(UIDS, UIDS, UIDS)
def test_what_is_written_is_read_again_by_us_and_by_pydicom(sop_class: str, instance: str, syntax: str) -> None:
    meta = FileMeta(sop_class, instance, syntax)
    data = encode_prefix(meta) + b"data set"

    assert read_prefix(io.BytesIO(data)) == (meta, len(data) - 8)
    theirs = pydicom.filereader.read_partial(io.BytesIO(data[:-8])).file_meta
    assert theirs.MediaStorageSOPInstanceUID == instance
    assert theirs.TransferSyntaxUID == syntax


@pytest.mark.parametrize(
    "data", [b"", b"\0" * 140, b"\0" * 128 + b"DICM", b"\0" * 128 + b"DICM\x02\x00\x10\x00UI\xff\xff"]
)
def test_a_file_that_is_not_dicom_is_refused_with_a_sentence(data: bytes) -> None:
    with pytest.raises(DicomError):
        read_prefix(io.BytesIO(data))


@given(st.binary(max_size=300))
def test_any_bytes_after_the_prefix_give_a_meta_or_a_dicom_error(data: bytes) -> None:
    try:
        meta, offset = read_prefix(io.BytesIO(b"\0" * 128 + b"DICM" + data))
    except DicomError:
        return
    assert meta.transfer_syntax_uid
    assert 132 < offset <= 132 + len(data)
