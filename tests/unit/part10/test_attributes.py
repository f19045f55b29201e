"""Attributes are read into DICOM JSON as pydicom would write it, within ceilings, from any bytes."""

from __future__ import annotations

import contextlib
import io
import json
import random
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
from appliance.part10.attributes import first_text, items_of, read_attributes, read_identifier, texts_of
from appliance.part10.meta import read_prefix
from appliance.part10.transfer_syntax import DEFLATED_LITTLE, EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE

EVERY = range(0x00080000, 0x00700000)
SYNTAXES = (EXPLICIT_LITTLE, IMPLICIT_LITTLE, EXPLICIT_BIG)


def encoded(dataset: Dataset, syntax: str = EXPLICIT_LITTLE) -> bytes:
    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = syntax != EXPLICIT_BIG, syntax == IMPLICIT_LITTLE
    write_dataset(stream, dataset)
    return stream.getvalue()


def read(data: bytes, syntax: str = EXPLICIT_LITTLE):
    return read_attributes(io.BytesIO(data), syntax, len(data), EVERY, EVERY.stop)


def a_study(*, undefined: bool = False) -> Dataset:
    step = Dataset()
    step.ScheduledProcedureStepID = "S1"
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator = "T-1", "SRT"
    step.ScheduledProtocolCodeSequence = Sequence([code])
    second = Dataset()
    second.RequestedProcedureID = "R2"
    for item in (step, code, second):
        item.is_undefined_length_sequence_item = undefined
    dataset = Dataset()
    dataset.ImageType = ["ORIGINAL", "PRIMARY"]
    dataset.StudyDate = "20260102"
    dataset.PatientName = "Doe^Jane=山田^花子"
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.PatientWeight = "61.5"
    dataset.AccessionNumber = ""
    dataset.InstanceNumber = "7"
    dataset.Rows = 512
    dataset.FrameIncrementPointer = 0x00181063
    dataset.RequestAttributesSequence = Sequence([step, second])
    dataset["RequestAttributesSequence"].is_undefined_length = undefined
    step["ScheduledProtocolCodeSequence"].is_undefined_length = undefined
    return dataset


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("undefined", [False, True])
def test_attributes_are_read_in_every_encoding(syntax: str, undefined: bool) -> None:
    content = read(encoded(a_study(undefined=undefined), syntax), syntax)

    assert content["00080008"] == {"vr": "CS", "Value": ["ORIGINAL", "PRIMARY"]}
    assert content["00100010"] == {"vr": "PN", "Value": [{"Alphabetic": "Doe^Jane", "Ideographic": "山田^花子"}]}
    assert content["00101030"] == {"vr": "DS", "Value": [61.5]}
    assert content["00080050"] == {"vr": "SH"}
    assert content["00200013"] == {"vr": "IS", "Value": [7]}
    assert content["00280010"] == {"vr": "US", "Value": [512]}
    assert content["00280009"] == {"vr": "AT", "Value": ["00181063"]}
    first, second = items_of(content, 0x00400275)
    assert first_text(first, 0x00400009) == "S1"
    assert first_text(items_of(first, 0x00400008)[0], 0x00080100) == "T-1"
    assert texts_of(second, 0x00401001) == ["R2"]


def test_real_files_read_as_pydicom_reads_them() -> None:
    """Texts of one value, in every file that pydicom has for its own tests."""
    compared = 0
    for path in map(Path, get_testdata_files("*.dcm")):
        with path.open("rb") as stream:
            try:
                meta, offset = read_prefix(stream)
                theirs = pydicom.dcmread(path, stop_before_pixels=True)
            except Exception:  # noqa: BLE001  files that are broken on purpose
                continue
            stream.seek(offset)
            size = path.stat().st_size - offset
            ours = read_attributes(stream, meta.transfer_syntax_uid, size, EVERY, EVERY.stop)
        for keyword in ("StudyDate", "Modality", "PatientID", "StudyInstanceUID", "Manufacturer", "Rows"):
            element = theirs.get(keyword)
            if element is not None and not isinstance(element, pydicom.multival.MultiValue):
                assert first_text(ours, pydicom.datadict.tag_for_keyword(keyword)) == str(element).strip(), path.name
                compared += 1
    assert compared > 200


@pytest.mark.parametrize("path", [p for p in get_charset_files("*.dcm") if "SQEncoding" not in p])
def test_names_in_every_character_set_are_those_of_pydicom(path: str) -> None:
    with Path(path).open("rb") as stream:
        meta, offset = read_prefix(stream)
        stream.seek(offset)
        size = Path(path).stat().st_size - offset
        ours = read_attributes(stream, meta.transfer_syntax_uid, size, EVERY, EVERY.stop)

    assert first_text(ours, 0x00100010) == str(pydicom.dcmread(path).PatientName).rstrip("^= ")


def test_a_character_set_that_nobody_knows_is_read_as_latin() -> None:
    data = b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 999\x10\x00\x10\x00PN\x06\x00M\xfcller"

    assert first_text(read(data), 0x00100010) == "Müller"


def test_an_item_may_have_a_character_set_of_its_own() -> None:
    inner = b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 192\x08\x00\x04\x01LO\x04\x00" + "éé".encode()
    item = b"\xfe\xff\x00\xe0" + len(inner).to_bytes(4, "little") + inner
    sequence = b"\x08\x00\x32\x10SQ\0\0" + len(item).to_bytes(4, "little") + item
    after = b"\x10\x00\x10\x00PN\x02\x00\xe9 "

    content = read(sequence + after)

    assert first_text(items_of(content, 0x00081032)[0], 0x00080104) == "éé"
    assert first_text(content, 0x00100010) == "é"


def test_long_values_and_bulk_data_are_left_out_and_the_rest_is_there() -> None:
    dataset = Dataset()
    dataset.StudyDescription = "short"
    dataset.PatientComments = "x" * 5000
    dataset.add_new(0x00281201, "OW", b"\0" * 64)
    dataset.PatientID = "P"

    assert set(read(encoded(dataset))) == {"00081030", "00100020"}


def test_what_came_before_the_bytes_break_off_is_read() -> None:
    data = encoded(a_study())

    assert first_text(read(data[: data.index(b"Doe")]), 0x00080020) == "20260102"


def test_bytes_that_are_not_deflated_give_nothing() -> None:
    assert read(b"\xff" * 64, DEFLATED_LITTLE) == {}


@given(st.integers(), st.sampled_from((*SYNTAXES, DEFLATED_LITTLE)), st.booleans())
def test_no_bytes_make_it_fail_or_give_what_json_can_not_hold(seed: int, syntax: str, undefined: bool) -> None:
    broken = mutate(encoded(a_study(undefined=undefined), syntax), random.Random(seed))

    content = read(broken, syntax)

    assert json.loads(json.dumps(content, allow_nan=False)) == content
    for tag in content:
        texts_of(content, int(tag, 16))


def test_a_sequence_in_a_sequence_without_end_is_bounded() -> None:
    item = b""
    for _ in range(40):
        item = b"\xfe\xff\x00\xe0" + len(item).to_bytes(4, "little") + item
        item = b"\x08\x00\x32\x10SQ\0\0" + len(item).to_bytes(4, "little") + item

    depth, content = 0, read(item)
    while items := items_of(content, 0x00081032):
        depth, content = depth + 1, items[0]

    assert 0 < depth < 10


def test_reading_an_empty_stream_gives_nothing() -> None:
    assert read(b"") == {}
    with pytest.raises(DicomError):
        read_prefix(io.BytesIO(b""))


def test_an_identifier_is_read_whole_whatever_its_length() -> None:
    question = Dataset()
    question.StudyInstanceUID = [f"1.2.{number}" for number in range(2000)]
    question.add_new(0x00091001, "OB", b"12")
    step = Dataset()
    step.ScheduledProcedureStepID = ""
    question.RequestAttributesSequence = Sequence([step])
    for syntax in SYNTAXES:
        content = read_identifier(encoded(question, syntax), syntax)

        assert len(texts_of(content, 0x0020000D)) == 2000
        assert "Value" not in content["00091001"]
        assert len(items_of(content, 0x00400275)) == 1


@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_sequence_is_read_up_to_its_ceiling_and_one_that_has_more_is_refused(syntax: str, undefined: bool) -> None:
    asked, items = Dataset(), []
    for number in range(300):
        item = Dataset()
        item.ReferencedSOPInstanceUID = f"1.2.{number}"
        item.is_undefined_length_sequence_item = undefined
        items.append(item)
    asked.ReferencedSOPSequence = Sequence(items)
    asked["ReferencedSOPSequence"].is_undefined_length = undefined
    found = items_of(read_identifier(encoded(asked, syntax), syntax, items_max=300), 0x00081199)
    assert [first_text(item, 0x00081155) for item in found] == [f"1.2.{number}" for number in range(300)]
    with pytest.raises(DicomError):
        read_identifier(encoded(asked, syntax), syntax, items_max=299)
    assert len(items_of(read(encoded(asked, syntax), syntax), 0x00081199)) == 64  # of an object's header: the first


def test_half_an_identifier_is_no_question() -> None:
    data = encoded(a_study())
    for end in range(1, len(data) - 1):
        try:
            half = read_identifier(data[:end], EXPLICIT_LITTLE)
        except DicomError:
            continue
        assert set(half) < set(read_identifier(data, EXPLICIT_LITTLE))  # it ended between two elements
    with pytest.raises(DicomError):
        read_identifier(b"\xff" * 64, EXPLICIT_LITTLE)
    with pytest.raises(DicomError):
        read_identifier(data, DEFLATED_LITTLE)


@given(st.integers(), st.sampled_from(SYNTAXES))
def test_a_broken_identifier_is_read_or_refused(seed: int, syntax: str) -> None:
    broken = mutate(encoded(a_study(), syntax), random.Random(seed))
    with contextlib.suppress(DicomError):
        assert isinstance(read_identifier(broken, syntax), dict)
