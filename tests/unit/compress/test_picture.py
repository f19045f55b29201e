"""Pictures of small images: within 256 pixels, windowed, never without the words that they are not for diagnosis."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from appliance.compress.picture import NOTE, SIDE, Display, draw
from appliance.compress.show import PNG_MAX, display_of
from appliance.part10.transfer_syntax import EXPLICIT

RAMP = np.arange(1000, 5096, dtype=np.uint16).reshape(64, 64)


def pixels(png: bytes | None) -> np.ndarray[Any, Any]:
    """(rows, columns, samples) of a PNG as `draw` makes it."""
    assert png is not None
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert b"tEXtComment\0" + NOTE.encode() in png
    columns, rows, depth, colour = struct.unpack(">IIBB", png[16:26])
    start = png.index(b"IDAT")
    (length,) = struct.unpack(">I", png[start - 4 : start])
    lines = zlib.decompress(png[start + 4 : start + 4 + length])
    samples = 3 if colour == 2 else 1
    assert depth == 8
    assert max(rows, columns) <= SIDE
    return np.frombuffer(lines, np.uint8).reshape(rows, -1)[:, 1:].reshape(rows, columns, samples)


def image(png: bytes | None) -> np.ndarray[Any, Any]:
    """Without the note beneath."""
    return pixels(png)[:-9]


def test_the_note_is_burnt_into_the_rows_beneath_the_image() -> None:
    for samples in (RAMP, np.zeros((3, 200), np.uint8), np.zeros((200, 3), np.uint8), np.zeros((9, 9, 3), np.uint8)):
        strip = pixels(draw(samples, Display()))[-9:]
        assert 200 < (strip[..., 0] == 255).sum() < 400
        assert np.array_equal(
            strip[:, :99], pixels(draw(RAMP, Display()))[-9:, :99, : strip.shape[2]] * np.ones(strip.shape[2], np.uint8)
        )


def test_without_a_window_the_samples_themselves_are_black_to_white() -> None:
    shown = image(draw(RAMP, Display()))
    assert (shown.min(), shown.max()) == (0, 255)
    assert (np.diff(shown[:, 0, 0].astype(int)) >= 0).all()


def test_a_window_is_of_rescaled_values() -> None:
    display = Display(slope=2.0, intercept=-1000.0, window=(5000.0, 100.0))  # samples 2975 to 3025
    shown = image(draw(RAMP, display))[..., 0]
    assert ((shown > 0) & (shown < 255)).mean() < 0.05
    assert 0.4 < (shown == 0).mean() < 0.6


@pytest.mark.parametrize("window", [(0.0, 100.0), (1e8, 10.0), (3000.0, 0.0), (3000.0, -5.0), None], ids=str)
def test_a_window_that_shows_nothing_is_passed_over(window: tuple[float, float] | None) -> None:
    assert draw(RAMP, Display(window=window)) == draw(RAMP, Display())


def test_monochrome1_is_white_where_samples_are_low() -> None:
    shown = image(draw(RAMP, Display(photometric="MONOCHROME1")))
    assert shown[0, 0, 0] == 255
    assert shown[-1, -1, 0] == 0


def test_colours_are_shown_as_they_are_and_ybr_is_turned_into_them() -> None:
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = 200
    assert image(draw(red, Display(photometric="RGB")))[100, 100].tolist() == [200, 0, 0]
    grey = np.full((8, 8, 3), 128, np.uint8)
    assert image(draw(grey, Display(photometric="YBR_FULL")))[100, 100].tolist() == [128, 128, 128]
    assert image(draw(np.full((8, 8, 4), 90, np.uint8), Display(photometric="YBR_FULL_422"))).shape[2] == 1


def test_indexes_of_a_palette_are_not_drawn() -> None:
    assert draw(RAMP, Display(photometric="PALETTE COLOR")) is None


@given(
    arrays.arrays(
        st.sampled_from([np.uint8, np.int16, np.uint16, np.int32]),
        st.one_of(
            st.tuples(st.integers(1, 256), st.integers(1, 256)),
            st.tuples(st.integers(1, 20), st.integers(1, 20), st.sampled_from([3, 4])),
        ),
    ),
    st.builds(
        Display,
        photometric=st.sampled_from(["", "MONOCHROME1", "RGB", "YBR_FULL", "X"]),
        slope=st.floats(-1e9, 1e9),
        intercept=st.floats(-1e9, 1e9),
        window=st.none() | st.tuples(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9)),
    ),
)
@settings(max_examples=60, deadline=None)
def test_whatever_the_samples_are_the_picture_is_small(samples: np.ndarray[Any, Any], display: Display) -> None:
    png = draw(samples, display)
    assert png is not None
    assert len(png) <= PNG_MAX
    pixels(png)


@pytest.mark.parametrize(
    ("elements", "wanted"),
    [
        ([(0x00281050, b"40\\600 "), (0x00281051, b"400\\2800")], Display(window=(40.0, 400.0))),
        ([(0x00281050, b"-600.5"), (0x00281051, b"+1.5e3")], Display(window=(-600.5, 1500.0))),
        ([(0x00281050, b"40")], Display()),
        ([(0x00281050, b"nan "), (0x00281051, b"1e99")], Display()),
        ([(0x00281052, b"-1024 "), (0x00281053, b"0 ")], Display(intercept=-1024.0)),
        ([(0x00281053, b"1" * 400)], Display()),
        ([(0x00281053, b"\xff\xfe\0\0")], Display()),
    ],
)
def test_a_header_says_how_to_show_its_samples_or_is_passed_over(
    elements: list[tuple[int, bytes]], wanted: Display
) -> None:
    header = b"".join(
        struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, b"DS", len(value)) + value for tag, value in elements
    )
    assert display_of(header, EXPLICIT) == wanted
    assert display_of(header + b"\x28\0", EXPLICIT) == wanted
