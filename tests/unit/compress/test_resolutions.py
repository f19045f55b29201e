"""The small images in a codestream are those of the image, and need no byte of the larger ones."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import openjpeg.utils
import pytest

from appliance.compress.codecs.base import CodecError
from appliance.compress.codecs.jpeg2000 import encode_image
from appliance.compress.codecs.resolutions import decode_small, resolutions_of, small_stream
from appliance.compress.layout import Layout


def picture(rows: int, columns: int, *, samples: int = 1, low: int = 0, high: int = 4000) -> np.ndarray[Any, Any]:
    """A smooth hill, so that a small image can be told from a wrong one."""
    y, x = np.mgrid[0:rows, 0:columns]
    hill = np.exp(-((y - rows / 3) ** 2 / (rows * 12 + 1) + (x - columns / 2) ** 2 / (columns * 12 + 1)))
    plane = (low + hill * (high - low)).astype(np.int32)
    return plane if samples == 1 else np.stack([plane, plane // 2, (high - plane) // 3], axis=2)


def stream_of(array: np.ndarray[Any, Any], *, stored: int = 12, mct: bool = False) -> bytes:
    layout = Layout(allocated=16, rows=array.shape[0], columns=array.shape[1], stored=stored, samples=array[0, 0].size)
    stream = encode_image(array.astype(np.int16 if array.min() < 0 else np.uint16), layout, mct=mct)
    assert stream is not None
    return stream


def averaged(array: np.ndarray[Any, Any], step: int) -> np.ndarray[Any, Any]:
    rows, columns = (-(-side // step) * step for side in array.shape[:2])
    padding = [(0, rows - array.shape[0]), (0, columns - array.shape[1])] + [(0, 0)] * (array.ndim - 2)
    padded = np.pad(array, padding, mode="edge")
    return padded.reshape(rows // step, step, columns // step, step, *array.shape[2:]).mean(axis=(1, 3))


@pytest.mark.parametrize(
    ("array", "mct"),
    [
        (picture(512, 512), False),
        (picture(500, 37), False),
        (picture(301, 640, low=-1000, high=900), False),
        (picture(300, 260, samples=3, high=250), False),
        (picture(300, 260, samples=3, high=250), True),
    ],
    ids=["square", "narrow", "signed", "colour", "colour transformed"],
)
def test_a_small_image_looks_like_the_large_one_and_takes_only_the_first_bytes(
    array: np.ndarray[Any, Any], mct: bool
) -> None:
    stream = stream_of(array, mct=mct)
    found = resolutions_of(stream)
    assert found is not None
    resolution = found.within(64)
    small = decode_small(stream[: found.ends[resolution]], 64)
    step = 1 << (found.levels - resolution)
    assert small.shape[:2] == found.size(resolution)[::-1]
    assert max(small.shape[:2]) <= 64
    wanted = averaged(array, step)
    assert np.abs(small - wanted).mean() < 0.05 * (array.max() - array.min())
    assert found.ends[resolution] < len(stream)


def test_the_last_resolution_is_the_image_itself() -> None:
    array = picture(100, 130)
    stream = stream_of(array)
    found = resolutions_of(stream)
    assert found is not None
    assert found.ends[-1] == len(stream) - 2
    assert np.array_equal(openjpeg.utils.decode(small_stream(stream, found, found.levels), j2k_format=0), array)


def test_a_shorter_part_gives_the_smaller_image_that_it_has_whole() -> None:
    stream = stream_of(picture(512, 512))
    found = resolutions_of(stream)
    assert found is not None
    assert decode_small(stream[: found.ends[3] - 1], 256).shape == (64, 64)
    assert decode_small(stream[: found.ends[3]], 256).shape == (128, 128)
    with pytest.raises(CodecError):
        decode_small(stream[: found.ends[0] - 1], 256)
    with pytest.raises(CodecError):
        small_stream(stream[: found.ends[1] - 1], found, 1)


def test_a_stream_of_another_kind_has_no_small_images() -> None:
    plain = stream_of(picture(64, 64))
    without_lengths = openjpeg.utils.encode_array(picture(64, 64).astype(np.uint16), bits_stored=12)
    assert resolutions_of(plain) is not None
    for stream in (b"", b"\xff\x4f", plain[:60], plain[2:], without_lengths, bytes(1000)):
        assert resolutions_of(stream) is None
        with pytest.raises(CodecError):
            decode_small(stream, 64)


def test_a_hostile_size_asks_for_no_memory() -> None:
    stream = bytearray(stream_of(picture(64, 64)))
    for at in (8, 12, 24, 28):
        stream[at : at + 4] = (1 << 15).to_bytes(4, "big")  # 32768 × 32768; its smallest image has 1024 a side
    assert resolutions_of(bytes(stream)) is not None
    with pytest.raises(CodecError, match="fitting size"):
        decode_small(bytes(stream), 64)


def test_a_flipped_stream_gives_a_small_image_or_is_refused(rounds: int) -> None:
    stream, draw = stream_of(picture(200, 200)), random.Random(4)
    for _ in range(rounds or 300):
        broken = bytearray(stream)
        for _ in range(draw.randint(1, 4)):
            broken[draw.randrange(min(len(broken), 400))] = draw.randrange(256)
        try:
            assert max(decode_small(bytes(broken), 64).shape[:2]) <= 256
        except CodecError:
            continue
