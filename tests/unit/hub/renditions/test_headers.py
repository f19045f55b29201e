"""Headers in another encoding say the same."""

from __future__ import annotations

import contextlib
import io
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence

from appliance.errors import DicomError
from appliance.hub.renditions.headers import Way, rewritten, swapped
from appliance.part10.transfer_syntax import EXPLICIT, IMPLICIT, Encoding

BIG = Encoding(explicit=True, big=True)


def encoded(dataset: Dataset, encoding: Encoding) -> bytes:
    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = not encoding.big, not encoding.explicit
    write_dataset(stream, dataset)
    return stream.getvalue()


def read(data: bytes, encoding: Encoding) -> Dataset:
    return read_dataset(io.BytesIO(data), not encoding.explicit, not encoding.big)


def a_header() -> Dataset:
    dataset = Dataset()
    dataset.PatientName, dataset.PatientID = "Doe^Jane", "1"
    dataset.Rows, dataset.PixelRepresentation, dataset.SmallestImagePixelValue = 512, 1, -5
    dataset.SimpleFrameList = [1, 2, 70_000]
    dataset.EventElapsedTimes = ["1.5"]
    dataset.ReferencePixelX0 = -7
    dataset.FrameIncrementPointer = 0x00181063
    item = Dataset()
    item.ReferencedFrameNumber, item.DoubleExposureFieldDelta = [1, 2], 2.5
    inner = Dataset()
    inner.CodeValue = "T-1"
    item.PurposeOfReferenceCodeSequence = Sequence([inner, Dataset()])
    dataset.ReferencedImageSequence = Sequence([item])
    return dataset


@pytest.mark.parametrize("source", [IMPLICIT, EXPLICIT, BIG], ids=["implicit", "explicit", "big endian"])
@pytest.mark.parametrize("target", [IMPLICIT, EXPLICIT], ids=["to implicit", "to explicit"])
def test_every_value_is_the_same_in_the_other_encoding(source: Encoding, target: Encoding) -> None:
    data = rewritten(encoded(a_header(), source), Way(source, target, signed=True))
    assert read(data, target) == read(encoded(a_header(), target), target)


@pytest.mark.parametrize("target", [IMPLICIT, EXPLICIT], ids=["to implicit", "to explicit"])
def test_words_of_a_big_endian_palette_are_turned(target: Encoding) -> None:
    words = [1, 0x1234, 0xFFFE]
    dataset = Dataset()
    dataset.add_new(0x00281201, "OW", struct.pack(">3H", *words))
    made = read(rewritten(encoded(dataset, BIG), Way(BIG, target, signed=False)), target)
    assert struct.unpack("<3H", made[0x00281201].value) == tuple(words)


def test_a_change_takes_the_place_of_a_value_is_added_or_removes_it() -> None:
    changes = {0x00280004: b"RGB ", 0x00280010: b"\x05\0", 0x00100020: None, 0x00080018: b"1.2\0", 0x7FE00001: None}
    dataset = a_header()
    made = read(rewritten(encoded(dataset, EXPLICIT), Way(EXPLICIT, EXPLICIT, signed=True), changes), EXPLICIT)
    assert (made.PhotometricInterpretation, made.Rows, made.SOPInstanceUID) == ("RGB", 5, "1.2")
    assert "PatientID" not in made
    assert list(made.keys()) == sorted(made.keys())


def test_group_lengths_are_left_out() -> None:
    data = struct.pack("<HH2sHL", 8, 0, b"UL", 4, 10) + encoded(a_header(), EXPLICIT)
    made = rewritten(data, Way(EXPLICIT, EXPLICIT, signed=True))
    assert made == rewritten(encoded(a_header(), EXPLICIT), Way(EXPLICIT, EXPLICIT, signed=True))


def test_a_header_that_breaks_off_is_refused() -> None:
    with pytest.raises(DicomError):
        rewritten(encoded(a_header(), EXPLICIT)[:-3], Way(EXPLICIT, IMPLICIT, signed=False))


def test_private_values_and_unknown_ones_keep_their_bytes() -> None:
    path = Path(str(get_testdata_file("nested_priv_SQ.dcm")))
    dataset = dcmread(path)
    data = encoded(dataset, IMPLICIT)
    there = rewritten(data, Way(IMPLICIT, EXPLICIT, signed=False))
    assert rewritten(there, Way(EXPLICIT, IMPLICIT, signed=False)) == rewritten(
        data, Way(IMPLICIT, IMPLICIT, signed=False)
    )


@given(st.binary(max_size=300), st.sampled_from([IMPLICIT, EXPLICIT, BIG]), st.sampled_from([IMPLICIT, EXPLICIT]))
def test_garbage_is_refused_or_rewritten_and_raises_nothing_else(
    data: bytes, source: Encoding, target: Encoding
) -> None:
    with contextlib.suppress(DicomError, struct.error):
        rewritten(data, Way(source, target, signed=False))


@given(st.binary(max_size=64), st.sampled_from([1, 2, 4, 8]))
def test_words_turned_twice_are_as_before(value: bytes, width: int) -> None:
    assert swapped(swapped(value, width), width) == value
