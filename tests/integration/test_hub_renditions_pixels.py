"""Every transfer syntax of pydicom's own files: what comes out has the same pixels, as pydicom reads both."""

from __future__ import annotations

import io
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset
from pydicom.encaps import encapsulate, encapsulate_extended, generate_frames
from pydicom.errors import InvalidDicomError
from pydicom.pixels.encoders.base import get_encoder
from pydicom.pixels.utils import iter_pixels, pixel_array
from pydicom.uid import (
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)
from support import data, images
from support.images import Image

from appliance.config import Compress
from appliance.hub.renditions.maker import Maker
from appliance.hub.renditions.making import make
from appliance.hub.renditions.pixels import is_decodable
from appliance.hub.renditions.values import NotMadeError, Reason
from appliance.part10.meta import FileMeta, encode_prefix

EXPLICIT, IMPLICIT, J2K = map(str, (ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEG2000Lossless))
TARGETS = (EXPLICIT, IMPLICIT, J2K)
# Pixels that JPEG 2000 has no place for: other colours, 1 or 32 bits a sample, images smaller than its wavelets.
NOT_FOR_J2K = dict.fromkeys(
    """
    SC_rgb_32bit SC_rgb_32bit_2frame SC_rgb_expb_32bit SC_rgb_expb_32bit_2frame SC_rgb_rle_32bit
    SC_rgb_rle_32bit_2frame SC_rgb_small_odd SC_rgb_small_odd_big_endian SC_ybr_full_422_uncompressed
    JPEGLSNearLossless_08 JPEGLSNearLossless_16 liver liver_expb liver_1frame liver_expb_1frame
    rtdose rtdose_1frame rtdose_expb rtdose_expb_1frame rtdose_rle rtdose_rle_1frame
    """.split(),
    Reason.UNSUPPORTED,
) | {"mlut_18": Reason.BITS}


def _pixels(dataset: Dataset) -> Any:
    """None where pydicom itself can't read them."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return pixel_array(dataset, raw=True, correct_unused_bits=False)
    except Exception:  # noqa: BLE001 - some of the files are broken on purpose
        return None


def _files() -> list[Path]:
    """Those with pixels that can be decoded here."""
    found = {}
    for name in (*data.PYDICOM_FILES.glob("*.dcm"), *data.pydicom_data_files().glob("*.dcm")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                dataset = dcmread(name, stop_before_pixels=True)
            except InvalidDicomError:
                continue
        syntax = dataset.file_meta.get("TransferSyntaxUID")
        if syntax and "Rows" in dataset and is_decodable(syntax):
            found[name.stem] = name
    return [found[name] for name in sorted(found)]


FILES = _files()


@pytest.fixture(scope="module")
def maker() -> Iterator[Maker]:
    made = Maker(Compress())
    yield made
    made.close()


def _refusal(maker: Maker, path: Path, out: Path, target: str) -> Reason | None:
    try:
        maker.make(path, out, target)
    except NotMadeError as error:
        return error.reason
    return None


def part10(content: bytes, syntax: str) -> bytes:
    return encode_prefix(FileMeta(images.SECONDARY_CAPTURE, "1.2.3.1", syntax)) + content


def made_of(content: bytes, target: str) -> FileDataset:
    """As the worker does it, without its walls."""
    with tempfile.TemporaryFile() as scratch, tempfile.TemporaryFile() as out:
        make(io.BytesIO(content), scratch, out, target)
        out.seek(0)
        return dcmread(io.BytesIO(out.read()))


def test_there_are_files_of_every_transfer_syntax_that_can_be_decoded() -> None:
    found = {str(dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID) for path in FILES}
    assert {
        *TARGETS,
        str(ExplicitVRBigEndian),
        str(DeflatedExplicitVRLittleEndian),
        str(RLELossless),
        str(JPEG2000),
        str(JPEGLSLossless),
        str(JPEGLSNearLossless),
    } <= found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_pixels_are_equal_before_and_after_in_the_sandbox(maker: Maker, path: Path, tmp_path: Path) -> None:
    before = dcmread(path)
    wanted = _pixels(before)
    for number, target in enumerate(TARGETS):
        out = tmp_path / f"{number}.dcm"
        reason = _refusal(maker, path, out, target)
        if reason:
            excused = target == J2K and reason is NOT_FOR_J2K.get(path.stem)
            assert excused or wanted is None
            continue
        after = dcmread(out)
        assert after.file_meta.TransferSyntaxUID == target
        assert (after.SOPInstanceUID, after.get("PatientID")) == (before.SOPInstanceUID, before.get("PatientID"))
        if wanted is not None:
            np.testing.assert_array_equal(_pixels(after), wanted)


def _shape(draw: st.DrawFn) -> Image:
    samples = draw(st.sampled_from([1, 3]))
    allocated = draw(st.sampled_from([8, 16]))
    photometric = "MONOCHROME2" if samples == 1 else draw(st.sampled_from(["RGB", "YBR_FULL"]))
    return Image(
        rows=draw(st.integers(32, 48)),
        columns=draw(st.integers(32, 48)),
        samples=samples,
        allocated=allocated,
        stored=allocated,
        signed=samples == 1 and draw(st.booleans()),
        planar=draw(st.sampled_from([0, 1])) if samples == 3 else 0,
        frames=draw(st.integers(1, 3)),
        photometric=photometric,
    )


@st.composite
def native(draw: st.DrawFn) -> tuple[Image, bytes, str]:
    """An image, its pixels, and one of the native transfer syntaxes."""
    image = _shape(draw)
    dtype = np.uint8 if image.allocated == 8 else np.uint16
    few = arrays.arrays(dtype, image.value_bytes // (image.allocated // 8))
    pixels = draw(few).tobytes()
    return (
        image,
        pixels + b"\0" * (len(pixels) % 2),
        draw(st.sampled_from([EXPLICIT, IMPLICIT, str(ExplicitVRBigEndian)])),
    )


@settings(max_examples=40, deadline=None)
@given(native(), st.sampled_from(TARGETS), st.sampled_from(TARGETS))
def test_any_pixels_are_the_same_after_a_round_through_two_forms(
    drawn: tuple[Image, bytes, str], first: str, second: str
) -> None:
    image, pixels, syntax = drawn
    content = part10(images.data_set(image, pixels, syntax=syntax), syntax)
    wanted = _pixels(dcmread(io.BytesIO(content)))
    there = made_of(content, first)
    stream = io.BytesIO()
    there.save_as(stream)
    back = made_of(stream.getvalue(), second)
    np.testing.assert_array_equal(_pixels(there), wanted)
    np.testing.assert_array_equal(_pixels(back), wanted)
    assert back.PhotometricInterpretation == (
        "YBR_RCT" if second == J2K and image.photometric == "RGB" else image.photometric
    )


def _example(name: str) -> bytes:
    return data.file(name).read_bytes()


@pytest.mark.parametrize(
    ("name", "photometric"),
    [
        ("GDCMJ2K_TextGBR.dcm", "RGB"),
        ("SC_rgb_rle.dcm", "RGB"),
        ("SC_rgb_rle_2frame.dcm", "RGB"),
        ("MR_small_jp2klossless.dcm", "MONOCHROME2"),
    ],
)
def test_decoded_colours_are_named_for_what_they_are_and_lie_pixel_by_pixel(name: str, photometric: str) -> None:
    made = made_of(_example(name), EXPLICIT)
    assert made.PhotometricInterpretation == photometric
    assert made.get("PlanarConfiguration", 0) == 0


def test_what_came_lossless_is_not_said_to_be_lossy() -> None:
    for name in ("MR_small_jp2klossless.dcm", "MR_small_RLE.dcm", "CT_small.dcm", "MR_small_jpeg_ls_lossless.dcm"):
        source = dcmread(io.BytesIO(_example(name)))
        assert made_of(_example(name), IMPLICIT).get("LossyImageCompression") == source.get("LossyImageCompression")


def test_what_lost_something_once_says_so_for_ever_and_how() -> None:
    made = made_of(_example("JPEGLSNearLossless_08.dcm"), EXPLICIT)
    assert (made.LossyImageCompression, made.LossyImageCompressionMethod) == ("01", "ISO_14495_1")
    assert float(made.LossyImageCompressionRatio) > 0
    assert made_of(_example("JPEG2000.dcm"), EXPLICIT).LossyImageCompression == "01"


def test_bits_beyond_those_that_are_stored_are_refused_for_jpeg_2000_and_kept_in_native_forms() -> None:
    image = Image(64, 64, allocated=16, stored=12)
    pixels = np.full((64, 64), 0xF001, "<u2").tobytes()
    content = part10(images.data_set(image, pixels), EXPLICIT)
    with pytest.raises(NotMadeError) as refused:
        made_of(content, J2K)
    assert refused.value.reason is Reason.BITS
    assert made_of(content, IMPLICIT).PixelData == pixels


@pytest.mark.parametrize(
    ("name", "target", "reason"),
    [
        ("JPEG-LL.dcm", EXPLICIT, Reason.NO_DECODER),
        ("test-SR.dcm", J2K, Reason.NO_IMAGE),
        ("emri_small_jpeg_2k_lossless_too_short.dcm", EXPLICIT, Reason.DAMAGED),
        ("SC_rgb_32bit.dcm", J2K, Reason.UNSUPPORTED),
    ],
)
def test_what_cant_be_made_is_refused_with_a_reason(name: str, target: str, reason: Reason) -> None:
    with pytest.raises(NotMadeError) as refused:
        made_of(_example(name), target)
    assert refused.value.reason is reason


def test_an_object_without_pixels_is_given_in_the_other_native_form() -> None:
    before, after = dcmread(io.BytesIO(_example("test-SR.dcm"))), made_of(_example("test-SR.dcm"), IMPLICIT)
    assert after.ContentSequence == before.ContentSequence


def test_offset_tables_of_encapsulated_frames_are_not_in_a_native_file() -> None:
    dataset = dcmread(io.BytesIO(_example("emri_small_RLE.dcm")))
    frames = list(generate_frames(dataset.PixelData, number_of_frames=dataset.NumberOfFrames))
    dataset.PixelData, dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths = encapsulate_extended(frames)
    stream = io.BytesIO()
    dataset.save_as(stream)
    made = made_of(stream.getvalue(), EXPLICIT)
    np.testing.assert_array_equal(_pixels(made), _pixels(dataset))
    assert "ExtendedOffsetTable" not in made
    assert "ExtendedOffsetTableLengths" not in made


def test_a_multi_frame_object_of_128_mib_is_made_in_the_memory_of_a_frame(tmp_path: Path) -> None:
    side, frames = 1024, 64
    row = np.arange(side, dtype="<u2") // 64  # in runs, so that the file is small and quickly decoded
    frame = np.broadcast_to(row, (side, side))
    options = {"rows": side, "columns": side, "samples_per_pixel": 1, "bits_allocated": 16, "bits_stored": 16}
    encoded = get_encoder(RLELossless).encode(
        frame.tobytes(),
        **options,
        pixel_representation=0,
        number_of_frames=1,
        photometric_interpretation="MONOCHROME2",
    )
    dataset = dcmread(io.BytesIO(_example("MR_small_RLE.dcm")))
    dataset.Rows, dataset.Columns, dataset.NumberOfFrames, dataset.BitsStored = side, side, frames, 16
    dataset.PixelRepresentation = 0
    dataset.PixelData = encapsulate([encoded] * frames)
    dataset.save_as(tmp_path / "large.dcm")
    maker = Maker(Compress())
    try:
        maker.make(tmp_path / "large.dcm", tmp_path / "native.dcm", EXPLICIT)
        maker.make(tmp_path / "native.dcm", tmp_path / "implicit.dcm", IMPLICIT)
        peak = maker.peak_bytes
    finally:
        maker.close()
    assert (tmp_path / "implicit.dcm").stat().st_size > side * side * 2 * frames
    np.testing.assert_array_equal(next(iter_pixels(tmp_path / "implicit.dcm", indices=[63])), frame)
    assert peak < 120 << 20  # of which the interpreter and the codecs are 60
