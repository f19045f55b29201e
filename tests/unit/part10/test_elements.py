"""The walker finds what pydicom finds, and never costs more than the bytes it is given."""

from __future__ import annotations

import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence

from appliance.errors import DicomError
from appliance.part10.elements import PIXEL_DATA, find_pixel_data, walk
from appliance.part10.transfer_syntax import IMPLICIT, Encoding, encoding_of

EXPLICIT = Encoding(explicit=True)
BIG = Encoding(explicit=True, big=True)


def encoded(dataset: Dataset, encoding: Encoding) -> bytes:
    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = not encoding.big, not encoding.explicit
    write_dataset(stream, dataset)
    return stream.getvalue()


def study_with_nested_sequences(undefined: bool) -> Dataset:
    inner = Dataset()
    inner.CodeValue = "T-1"
    inner.is_undefined_length_sequence_item = undefined
    middle = Dataset()
    middle.ConceptNameCodeSequence = Sequence([inner, inner])
    middle["ConceptNameCodeSequence"].is_undefined_length = undefined
    middle.is_undefined_length_sequence_item = undefined
    dataset = Dataset()
    dataset.PatientID = "P1"
    dataset.ContentSequence = Sequence([middle])
    dataset["ContentSequence"].is_undefined_length = undefined
    dataset.add_new(PIXEL_DATA, "OW", b"\1\2\3\4")
    dataset.add_new(0xFFFCFFFC, "OB", b"\0\0")
    return dataset


@pytest.mark.parametrize("encoding", [EXPLICIT, IMPLICIT, BIG])
@pytest.mark.parametrize("undefined", [False, True])
def test_pixel_data_behind_nested_sequences_is_found(encoding: Encoding, undefined: bool) -> None:
    data = encoded(study_with_nested_sequences(undefined), encoding)

    pixels = find_pixel_data(io.BytesIO(data), encoding, len(data))

    assert pixels is not None
    assert data[pixels.value_offset : pixels.value_end] == b"\1\2\3\4"
    tags = [element.tag for element in walk(io.BytesIO(data), encoding, len(data))]
    assert tags == [0x00100020, 0x0040A730, PIXEL_DATA, 0xFFFCFFFC]


def test_encapsulated_pixel_data_ends_after_its_delimiter() -> None:
    fragments = struct.pack("<HHL", 0xFFFE, 0xE000, 0) + struct.pack("<HHL", 0xFFFE, 0xE000, 2) + b"\xff\xd8"
    value = fragments + struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
    data = struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF) + value + b"\xfc\xff\xfc\xffOB\0\0\0\0\0\0"

    pixels = find_pixel_data(io.BytesIO(data), EXPLICIT, len(data))

    assert pixels is not None
    assert pixels.undefined
    assert data[pixels.value_offset : pixels.value_end] == value


def test_implicit_elements_under_an_explicit_transfer_syntax_are_read() -> None:
    data = encoded(study_with_nested_sequences(False), IMPLICIT)

    assert find_pixel_data(io.BytesIO(data), EXPLICIT, len(data)) is not None


def test_an_element_that_claims_more_than_there_is_is_refused() -> None:
    data = struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OW", 0, 0xFFFFFFFE) + b"\0" * 100

    with pytest.raises(DicomError, match="claims 4294967294 bytes"):
        find_pixel_data(io.BytesIO(data), EXPLICIT, len(data))


def test_a_hundred_thousand_nested_sequences_are_refused_at_once() -> None:
    level = struct.pack("<HH2sHL", 0x0040, 0xA730, b"SQ", 0, 0xFFFFFFFF) + struct.pack(
        "<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF
    )
    stream = io.BytesIO(level * 100_000)

    with pytest.raises(DicomError, match="nested deeper"):
        find_pixel_data(stream, EXPLICIT, len(stream.getvalue()))

    assert stream.tell() < 100 * len(level), "it read no further"


def test_a_ceiling_of_elements_holds() -> None:
    data = b"\x08\x00\x05\x00CS\0\0" * 1000

    with pytest.raises(DicomError, match="more elements than"):
        list(walk(io.BytesIO(data), EXPLICIT, len(data), elements_max=999))


@given(st.binary(max_size=400), st.sampled_from([EXPLICIT, IMPLICIT, BIG]))
def test_any_bytes_give_elements_within_them_or_a_dicom_error(data: bytes, encoding: Encoding) -> None:
    end = 0
    try:
        for element in walk(io.BytesIO(data), encoding, len(data)):
            assert element.offset == end
            assert element.offset < element.value_offset <= element.value_end <= len(data)
            end = element.value_end
    except DicomError:
        pass
    else:
        assert end == len(data)


def test_private_transfer_syntaxes_are_explicit_little_endian() -> None:
    assert encoding_of("1.2.840.113619.5.2") == EXPLICIT
    assert encoding_of("1.2.840.10008.1.2.1.99").deflated
