"""What is written from DICOM JSON is what pydicom, and our own reader, read."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset

from appliance.part10.attributes import read_identifier
from appliance.part10.transfer_syntax import EXPLICIT_LITTLE, IMPLICIT_LITTLE
from appliance.part10.writing import encode_attributes, is_ascii

CONTENT = {
    "00080005": {"vr": "CS", "Value": ["ISO_IR 192"]},
    "00080020": {"vr": "DA", "Value": ["20260131"]},
    "00080050": {"vr": "SH"},
    "00080061": {"vr": "CS", "Value": ["CT", "SR"]},
    "00081032": {"vr": "SQ", "Value": [{"00080100": {"vr": "SH", "Value": ["T-1"]}}, {}]},
    "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Müller^J", "Phonetic": "やまだ"}]},
    "00101030": {"vr": "DS", "Value": [61.5]},
    "0020000D": {"vr": "UI", "Value": ["1.2.3"]},
    "00200013": {"vr": "IS", "Value": [7]},
    "00280009": {"vr": "AT", "Value": ["00181063"]},
    "00280010": {"vr": "US", "Value": [512]},
    "00189073": {"vr": "FD", "Value": [1.25]},
}


def parsed(data: bytes, syntax: str) -> Dataset:
    return read_dataset(io.BytesIO(data), syntax == IMPLICIT_LITTLE, True)


@pytest.mark.parametrize("syntax", [EXPLICIT_LITTLE, IMPLICIT_LITTLE])
def test_pydicom_reads_what_was_written(syntax: str) -> None:
    dataset = parsed(encode_attributes(CONTENT, syntax), syntax)

    assert [element.tag for element in dataset] == sorted(int(tag, 16) for tag in CONTENT)
    assert str(dataset.PatientName) == "Müller^J==やまだ"
    assert list(dataset.ModalitiesInStudy) == ["CT", "SR"]
    assert (dataset.PatientWeight, dataset.InstanceNumber, dataset.Rows) == (61.5, 7, 512)
    assert dataset.ProcedureCodeSequence[0].CodeValue == "T-1"
    assert (dataset.AccessionNumber, dataset.StudyInstanceUID) == ("", "1.2.3")
    assert dataset.FrameIncrementPointer == 0x00181063
    assert dataset.AcquisitionDuration == 1.25


@pytest.mark.parametrize("syntax", [EXPLICIT_LITTLE, IMPLICIT_LITTLE])
def test_reading_it_again_gives_the_same(syntax: str) -> None:
    assert read_identifier(encode_attributes(CONTENT, syntax), syntax) == CONTENT


@given(
    st.lists(st.text(st.characters(exclude_categories=("C", "Z"), exclude_characters="\\"), min_size=1, max_size=20))
)
def test_any_text_comes_back(texts: list[str]) -> None:
    content = {
        "00080005": {"vr": "CS", "Value": ["ISO_IR 192"]},
        "00081030": {"vr": "LO", "Value": texts} if texts else {"vr": "LO"},
    }
    for syntax in (EXPLICIT_LITTLE, IMPLICIT_LITTLE):
        data = encode_attributes(content, syntax)
        assert len(data) % 2 == 0
        assert read_identifier(data, syntax) == content


def test_a_long_decimal_is_no_longer_than_its_vr_allows() -> None:
    data = encode_attributes({"00101030": {"vr": "DS", "Value": [-1.2345678901234567e-100]}}, EXPLICIT_LITTLE)
    assert len(data) - 8 <= 16


def test_a_value_that_is_too_long_for_its_vr_is_left_out_in_explicit_vr_alone() -> None:
    content = {"00081030": {"vr": "LO", "Value": ["x" * 70_000]}, "00100020": {"vr": "LO", "Value": ["P"]}}
    assert len(encode_attributes(content, EXPLICIT_LITTLE)) == 10
    assert len(encode_attributes(content, IMPLICIT_LITTLE)) == 70_018


def test_whether_a_character_set_is_needed_is_told_from_every_text() -> None:
    assert not is_ascii(CONTENT)
    assert is_ascii({tag: value for tag, value in CONTENT.items() if tag != "00100010"})
    assert not is_ascii({"00081032": {"vr": "SQ", "Value": [{"00080104": {"vr": "LO", "Value": ["é"]}}]}})
