"""Identity is read from any data set that can be filed, whatever its character set, and from no other."""

from __future__ import annotations

import contextlib
import io
import random
import zlib
from pathlib import Path

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.data import get_charset_files, get_testdata_files
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence
from support.mutate import mutate

from appliance.errors import DicomError
from appliance.part10.identity import identity_in, read_identity, valid_uid
from appliance.part10.meta import read_prefix
from appliance.part10.transfer_syntax import DEFLATED_LITTLE, EXPLICIT_LITTLE, IMPLICIT_LITTLE


def minimal(**values: object) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", "1.2.3.4"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.3", "1.2.3.1"
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def encoded(dataset: Dataset) -> bytes:
    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = True, False
    write_dataset(stream, dataset)
    return stream.getvalue()


def identity_of(data: bytes, syntax: str = EXPLICIT_LITTLE):
    return read_identity(io.BytesIO(data), syntax, len(data))


@pytest.mark.parametrize("path", [p for p in get_charset_files("*.dcm") if "SQEncoding" not in p])
def test_names_in_every_character_set_read_as_pydicom_reads_them(path: str) -> None:
    with Path(path).open("rb") as stream:
        meta, offset = read_prefix(stream)
        stream.seek(0, 2)
        size = stream.tell() - offset
        stream.seek(offset)
        ours = read_identity(stream, meta.transfer_syntax_uid, size)

    assert ours.patient_name == str(pydicom.dcmread(path).PatientName).rstrip("^= ")


def test_the_first_part_of_a_data_set_is_enough() -> None:
    dataset = minimal(PatientID="P7", Modality="CT", NumberOfFrames="12")
    dataset.add_new(0x7FE00010, "OW", b"\0" * 10_000)
    data = encoded(dataset)

    identity = read_identity(io.BytesIO(data[:400]), EXPLICIT_LITTLE, len(data))

    assert (identity.patient_id, identity.modality, identity.number_of_frames) == ("P7", "CT", 12)


def test_a_data_set_that_breaks_off_after_its_uids_is_still_filed() -> None:
    data = encoded(minimal())

    assert identity_of(data + b"\x20\x00\x13\x00IS\xff\x00").sop_instance_uid == "1.2.3.4"


@pytest.mark.parametrize("field", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"])
@pytest.mark.parametrize("uid", ["", "../../etc/passwd", "1.2.x", "1" * 65, "1.2.3\\4.5"])
def test_a_missing_or_malformed_uid_is_refused(field: str, uid: str) -> None:
    dataset = minimal()
    tag = pydicom.datadict.tag_for_keyword(field)
    dataset[tag] = pydicom.dataelem.DataElement(tag, "LO", uid, validation_mode=0)

    with pytest.raises(DicomError, match="missing or malformed"):
        identity_of(encoded(dataset))


def test_a_deflated_data_set_is_inflated_no_further_than_its_header() -> None:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    head = encoded(minimal(PatientID="D1"))
    data = deflate.compress(head) + b"".join(deflate.compress(b"\0" * (1 << 20)) for _ in range(64)) + deflate.flush()

    assert identity_of(data, DEFLATED_LITTLE).patient_id == "D1"


def test_bytes_that_are_not_deflated_are_refused() -> None:
    with pytest.raises(DicomError, match="deflated"):
        identity_of(b"\xff" * 64, DEFLATED_LITTLE)


@given(st.binary(max_size=200), st.binary(max_size=40))
def test_text_of_any_bytes_in_any_character_set_never_fails(text: bytes, charset: bytes) -> None:
    def element(tag: bytes, value: bytes) -> bytes:
        return tag + b"LO" + len(value).to_bytes(2, "little") + value

    data = element(b"\x08\x00\x05\x00", charset) + encoded(minimal())[:0]
    uids = encoded(minimal())
    at = uids.index(b"\x20\x00\x0d\x00")
    data += uids[:at] + element(b"\x10\x00\x10\x00", text) + uids[at:]

    identity = identity_of(data)

    assert len(identity.patient_name) <= 256
    assert not any(ord(c) < 32 for c in identity.patient_name)


@given(st.text(max_size=80))
def test_a_valid_uid_has_only_digits_and_dots(text: str) -> None:
    assert not valid_uid(text) or (set(text) <= set("0123456789.") and len(text) <= 64)


def outcome(data: bytes) -> object:
    try:
        return identity_of(data)
    except DicomError:
        return None


def test_the_quick_way_tells_of_real_files_what_the_thorough_one_tells() -> None:
    told = 0
    for path in (*get_charset_files("*.dcm"), *get_testdata_files("*.dcm")):
        with Path(path).open("rb") as stream, contextlib.suppress(DicomError):
            meta, offset = read_prefix(stream)
            stream.seek(offset)
            data = stream.read()
            thorough = read_identity(io.BytesIO(data), meta.transfer_syntax_uid, len(data))
            quick = identity_in(data[: 1 << 16], meta.transfer_syntax_uid)
            assert quick in (None, thorough), path
            told += quick is not None
    assert told > 50


def with_a_sequence(*, undefined: bool) -> bytes:
    item = Dataset()
    item.ReferencedSOPInstanceUID = "1.2.3.4.5"
    item.is_undefined_length_sequence_item = undefined
    dataset = minimal(PatientID="P7", Modality="CT")
    dataset.ReferencedStudySequence = Sequence([item])
    dataset["ReferencedStudySequence"].is_undefined_length = undefined
    dataset.add_new(0x7FE00010, "OW", b"\0" * 64)
    return encoded(dataset)


@pytest.mark.parametrize("undefined", [False, True])
def test_the_quick_way_passes_a_sequence(undefined: bool) -> None:
    data = with_a_sequence(undefined=undefined)
    found = identity_in(data, EXPLICIT_LITTLE)
    assert found == identity_of(data)
    assert found
    assert found.patient_id == "P7"


@given(seed=st.integers(0, 1 << 32), undefined=st.booleans())
def test_the_quick_way_never_tells_of_broken_bytes_what_the_thorough_one_does_not(seed: int, undefined: bool) -> None:
    data = mutate(with_a_sequence(undefined=undefined), random.Random(seed))
    with contextlib.suppress(DicomError):
        assert identity_in(data, EXPLICIT_LITTLE) in (None, outcome(data))


def test_the_quick_way_leaves_other_encodings_and_more_bytes_to_the_thorough_one() -> None:
    data = with_a_sequence(undefined=False)
    assert identity_in(data, IMPLICIT_LITTLE) is None
    assert identity_in(data[:100], EXPLICIT_LITTLE) is None
