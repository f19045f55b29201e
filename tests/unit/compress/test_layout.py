"""A data set is cut at its pixels when they are what the attributes say, and else goes as it is."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.images import BIG, EXPLICIT, IMPLICIT, Image, data_set
from support.tiny_instances import element

from appliance.compress.layout import BODILESS_MAX, CHUNK, OPAQUE, Cut, Layout, cut_data_set

MAX = 1 << 26


def cut(data: bytes, syntax: str = EXPLICIT, samples_max: int = MAX) -> Cut:
    return cut_data_set(io.BytesIO(data), syntax, len(data), samples_max)


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG])
def test_native_pixels_are_cut_out_frame_by_frame(syntax: str) -> None:
    image = Image(12, 10, frames=3, stored=12, signed=True)
    data = data_set(image, bytes(720), syntax=syntax)
    found = cut(data, syntax)
    swapped = 2 if syntax == BIG else 1
    assert found.layout == Layout(allocated=16, rows=12, columns=10, stored=12, signed=True, swapped=swapped)
    assert (found.body, found.suffix, found.native) == (720, 0, True)
    assert list(found.layout.blocks(found.body)) == [240, 240, 240]


def test_the_padding_byte_goes_with_the_suffix() -> None:
    trailer = element(0xFFFCFFFC, "OB", bytes(6))
    data = data_set(Image(9, 9, allocated=8, stored=8), bytes(81), vr="OB", after=trailer)
    found = cut(data)
    assert (found.body, found.suffix) == (81, 1 + len(trailer))


@pytest.mark.parametrize(
    ("image", "layout"),
    [
        (
            Image(10, 8, samples=3, allocated=8, stored=8, planar=1, photometric="RGB"),
            Layout(rows=10, columns=8, samples=3, planar=True, stored=8, rgb=True),
        ),
        (
            Image(10, 8, samples=3, allocated=8, stored=8, photometric="YBR_FULL"),
            Layout(rows=10, columns=8, samples=3, stored=8),
        ),
        (Image(64, 8, allocated=1, stored=1), Layout(allocated=1, rows=64, columns=8, stored=1)),
        (Image(10, 8, allocated=32, stored=32), Layout(allocated=32, rows=10, columns=8, stored=32)),
    ],
)
def test_each_shape_has_its_layout(image: Image, layout: Layout) -> None:
    assert cut(data_set(image, bytes(image.value_bytes))).layout == layout


def test_chrominance_shared_by_two_pixels_is_an_image_of_four_samples() -> None:
    image = Image(10, 8, samples=3, allocated=8, stored=8, photometric="YBR_FULL_422")
    found = cut(data_set(image, bytes(160)))
    assert found.layout == Layout(rows=10, columns=4, samples=4, stored=8)


@pytest.mark.parametrize(("tag", "vr", "bits"), [(0x7FE00008, "OF", 32), (0x7FE00009, "OD", 64)])
def test_float_pixels_are_a_run_of_wide_samples(tag: int, vr: str, bits: int) -> None:
    image = Image(8, 8, allocated=bits, stored=bits)
    found = cut(data_set(image, bytes(64 * bits // 8), tag=tag, vr=vr))
    assert (found.layout, found.body) == (Layout(allocated=bits), 64 * bits // 8)


@pytest.mark.parametrize(
    "image",
    [
        Image(65535, 65535),
        Image(0, 12),
        Image(12, 11),
        Image(12, 10, frames=2),
        Image(12, 10, allocated=12, stored=12),
        Image(12, 10, allocated=7, stored=7),
        Image(12, 10, samples=60000),
    ],
)
def test_pixels_that_are_not_what_the_attributes_say_are_a_run_of_bytes(image: Image) -> None:
    found = cut(data_set(image, bytes(240)))
    assert found.layout.rows == 0
    assert found.body == 240


def test_a_frame_too_large_for_the_memory_is_cut_into_chunks() -> None:
    found = cut(data_set(Image(3000, 1000), bytes(6_000_000)), samples_max=1_000_000)
    assert found.layout == Layout(allocated=16)
    assert list(found.layout.blocks(found.body)) == [CHUNK, 6_000_000 - CHUNK]


def test_frames_that_are_hardly_bytes_are_not_blocks_of_their_own() -> None:
    image = Image(3, 3, allocated=8, stored=8, frames=100_000)
    assert cut(data_set(image, bytes(900_000))).layout.rows == 0


def test_encapsulated_pixels_are_left_alone() -> None:
    start = data_set(Image(8, 8), b"")[:-12]
    fragments = b"\xfe\xff\x00\xe0\0\0\0\0" + b"\xfe\xff\x00\xe0\x04\0\0\0jpeg"
    pixels = b"\xe0\x7f\x10\0OB\0\0\xff\xff\xff\xff" + fragments + b"\xfe\xff\xdd\xe0\0\0\0\0"
    found = cut(start + pixels, "1.2.840.10008.1.2.4.50")
    assert (found.prefix, found.layout, found.native) == (len(start) + 12, OPAQUE, False)


def test_a_deflated_data_set_is_all_body() -> None:
    assert cut(b"x" * 100, "1.2.840.10008.1.2.1.99") == Cut(0, 100, 0)


def test_a_report_is_all_header_and_a_long_document_is_all_body() -> None:
    report = element(0x00080018, "UI", "1.2.3")
    assert cut(report) == Cut(len(report), 0, 0)
    document = report + element(0x00420011, "OB", bytes(BODILESS_MAX))
    assert cut(document) == Cut(0, len(document), 0)


@given(st.binary(max_size=300))
def test_noise_is_cut_somehow_and_nothing_is_lost(noise: bytes) -> None:
    for syntax in (IMPLICIT, EXPLICIT, BIG):
        found = cut(noise, syntax)
        assert found.prefix + found.body + found.suffix == len(noise)
        assert sum(found.layout.blocks(found.body)) == found.body
