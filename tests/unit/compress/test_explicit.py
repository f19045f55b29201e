"""A header rewritten in explicit VR keeps every value byte for byte."""

from __future__ import annotations

import io
import struct

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence
from support import data
from support.images import source_of

from appliance.compress.explicit import to_explicit, value_of
from appliance.compress.layout import cut_data_set
from appliance.errors import DicomError
from appliance.part10.transfer_syntax import EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE, encoding_of

IMPLICIT = encoding_of(IMPLICIT_LITTLE)
EXPLICIT = encoding_of(EXPLICIT_LITTLE)


def element(tag: int, value: bytes, length: int | None = None) -> bytes:
    return struct.pack("<HHL", tag >> 16, tag & 0xFFFF, len(value) if length is None else length) + value


def read(header: bytes, *, implicit: bool) -> Dataset:
    return read_dataset(io.BytesIO(header), implicit, True)


def nested() -> Dataset:
    inner = Dataset()
    inner.CodeValue = "T-D1100"
    inner.ReferencedSOPInstanceUID = "1.2.3"
    item = Dataset()
    item.AnatomicRegionSequence = Sequence([inner, inner])
    item.add_new(0x00091001, "UN", b"\x01\x02\x03\x04")
    made = Dataset()
    made.SOPInstanceUID = "1.2.3.4"
    made.PatientName = "Nobody^Here"
    made.AnatomicRegionSequence = Sequence([item])
    made.ReferencedImageSequence = Sequence([])
    made.Rows = 12
    made.SmallestImagePixelValue = 7
    made.add_new(0x00090010, "LO", "PRIVATE")
    made.add_new(0x00091002, "UN", b"private!")
    return made


@pytest.mark.parametrize("undefined", [True, False])
def test_an_implicit_header_has_the_same_elements_and_values(undefined: bool) -> None:
    made = nested()
    for one in made.iterall():
        if one.VR == "SQ":
            one.is_undefined_length = undefined
            for item in one.value:
                item.is_undefined_length_sequence_item = undefined
    stream = pydicom.filebase.DicomBytesIO()
    stream.is_implicit_VR, stream.is_little_endian = True, True
    write_dataset(stream, made)
    before = read(stream.getvalue(), implicit=True)
    after = read(to_explicit(stream.getvalue(), IMPLICIT, {}, signed=False), implicit=False)
    assert [one.tag for one in before] == [one.tag for one in after]
    for one in before:
        if not one.tag.is_private:
            assert after[one.tag].value == one.value
    assert after[0x00091002].value == b"private!"


@pytest.mark.parametrize(("signed", "vr"), [(True, "SS"), (False, "US")])
def test_us_or_ss_is_what_the_pixels_are(signed: bool, vr: str) -> None:
    header = to_explicit(element(0x00280106, b"\x05\x00"), IMPLICIT, {}, signed=signed)
    assert header == b"\x28\x00\x06\x01" + vr.encode() + b"\x02\x00\x05\x00"


def test_group_lengths_are_left_out_because_they_no_longer_hold() -> None:
    header = element(0x00280000, b"\x0a\0\0\0") + element(0x00280010, b"\x05\x00")
    assert to_explicit(header, IMPLICIT, {}, signed=False) == b"\x28\x00\x10\x00US\x02\x00\x05\x00"


def test_a_value_too_long_for_its_vr_becomes_unknown() -> None:
    header = to_explicit(element(0x00081030, bytes(70_000)), IMPLICIT, {}, signed=False)
    assert header[4:12] == b"UN\0\0" + (70_000).to_bytes(4, "little")


def test_values_are_replaced_where_they_are_and_not_added() -> None:
    header = b"\x28\x00\x04\x00CS\x04\x00RGB "
    replaced = {0x00280004: b"YBR_RCT ", 0x00280006: b"\0\0"}
    changed = to_explicit(header, EXPLICIT, replaced, signed=False)
    assert changed == b"\x28\x00\x04\x00CS\x08\x00YBR_RCT "
    assert value_of(changed, EXPLICIT, 0x00280004) == b"YBR_RCT "
    assert value_of(changed, EXPLICIT, 0x00280006) == b""


def test_an_explicit_header_is_left_as_it_is() -> None:
    source = source_of(data.file("CT_small.dcm"))
    with source.path.open("rb") as file:
        file.seek(source.data_offset)
        cut = cut_data_set(file, EXPLICIT_LITTLE, source.bytes, 1 << 26)
        file.seek(source.data_offset)
        header = file.read(cut.prefix - 12)
    kept = to_explicit(header, EXPLICIT, {}, signed=True)
    assert len(kept) <= len(header)
    before, after = read(header, implicit=False), read(kept, implicit=False)
    assert [one for one in before if one.tag.element] == list(after)


@pytest.mark.parametrize("syntax", [EXPLICIT_BIG, "1.2.840.10008.1.2.1.99"])
def test_big_endian_and_deflated_headers_are_not_rewritten(syntax: str) -> None:
    with pytest.raises(DicomError):
        to_explicit(b"", encoding_of(syntax), {}, signed=False)


@given(st.binary(max_size=300))
def test_noise_is_rewritten_somehow_or_refused(noise: bytes) -> None:
    for encoding in (IMPLICIT, EXPLICIT):
        try:
            to_explicit(noise, encoding, {}, signed=False)
        except DicomError:
            continue


def test_sequences_nested_without_end_are_refused() -> None:
    deep = b""
    for _ in range(40):
        deep = element(0x00082218, b"\xfe\xff\x00\xe0" + len(deep).to_bytes(4, "little") + deep)
    with pytest.raises(DicomError):
        to_explicit(deep, IMPLICIT, {}, signed=False)
