"""Every codec gives every block back byte for byte, or says that the block is not for it."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import data

from appliance.compress.codecs import BY_ID, CODECS, PLAIN, decode_block, encode_block
from appliance.compress.codecs.base import Codec, CodecError
from appliance.compress.codecs.image import to_array, to_block
from appliance.compress.codecs.jpeg2000 import Jpeg2000, RankedJpeg2000
from appliance.compress.codecs.zstd import Zstd, deflate, inflate, sort_bytes, unsort_bytes
from appliance.compress.layout import OPAQUE, Layout

EVERY = pytest.mark.parametrize("codec", [*CODECS, PLAIN], ids=lambda codec: codec.name)


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    allocated = draw(st.sampled_from([1, 8, 16, 32]))
    samples = draw(st.sampled_from([1, 3, 4])) if allocated > 1 else 1
    columns = draw(st.integers(1, 9)) * 8 if allocated == 1 else draw(st.integers(1, 70))
    return Layout(
        allocated=allocated,
        rows=draw(st.integers(1, 70)),
        columns=columns,
        samples=samples,
        planar=samples == 3 and draw(st.booleans()),
        stored=draw(st.integers(1, allocated)),
        signed=allocated > 1 and draw(st.booleans()),
        swapped=draw(st.sampled_from([1, 2, 4])) if allocated > 1 else 1,
        rgb=samples == 3 and draw(st.booleans()),
    )


@st.composite
def blocks(draw: st.DrawFn) -> tuple[Layout, bytes]:
    """Noise, gradients, few values, values beyond the stored bits, constants."""
    layout = draw(layouts())
    size = layout.block_bytes
    random = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    kind = draw(st.sampled_from(["noise", "smooth", "sparse", "constant"]))
    if kind == "noise":
        return layout, random.bytes(size)
    if kind == "constant":
        return layout, bytes([draw(st.integers(0, 255))]) * size
    cells = -(-size // layout.width)
    ramp = np.arange(cells) // 3 + random.integers(0, 3, cells)
    if kind == "sparse":
        ramp = random.choice(random.integers(0, 60000, 5), cells)
    return layout, ramp.astype(f"<u{layout.width}").tobytes()[:size]


@EVERY
@given(made=blocks())
@settings(max_examples=60, deadline=None)
def test_a_block_comes_back_or_is_not_taken(codec: Codec, made: tuple[Layout, bytes]) -> None:
    layout, block = made
    try:
        payload = codec.encode(block, layout, 1 << 30)
    except CodecError:
        return
    if payload is not None:
        assert codec.decode(payload, layout, len(block)) == block


@given(made=blocks())
@settings(max_examples=60, deadline=None)
def test_the_smallest_payload_wins_and_none_is_larger_than_the_block(made: tuple[Layout, bytes]) -> None:
    layout, block = made
    codec, payload = encode_block(block, layout)
    assert len(payload) <= len(block)
    assert decode_block(codec.id, payload, layout, len(block)) == block


def test_numbers_of_codecs_never_change() -> None:
    # They stand in parcels that are under way and in docs/protocol.md.
    names = {0: "plain", 1: "zstd", 2: "jpeg2000", 3: "jpeg2000-ranked"}
    assert {number: codec.name for number, codec in BY_ID.items()} == names


def test_the_protocol_names_every_codec_by_its_number() -> None:
    text = (data.CHECKOUT / "docs" / "protocol.md").read_text("utf-8")
    table = text[text.index("### Codecs") :]
    assert dict(re.findall(r"^\| (\d+) \| ([\w-]+) \|", table, re.MULTILINE)) == {
        str(number): codec.name for number, codec in BY_ID.items()
    }


def test_smooth_sixteen_bit_images_go_as_jpeg_2000() -> None:
    ramp = np.add.outer(np.arange(256), np.arange(256)) + np.random.default_rng(1).integers(0, 9, (256, 256))
    codec, payload = encode_block(ramp.astype("<u2").tobytes(), Layout(allocated=16, rows=256, columns=256, stored=12))
    assert codec.name == "jpeg2000"
    assert len(payload) < 256 * 256 * 2 / 3


def test_the_payload_of_jpeg_2000_has_the_stored_precision_and_packet_lengths() -> None:
    layout = Layout(allocated=16, rows=64, columns=64, stored=12)
    payload = Jpeg2000().encode(np.arange(4096, dtype="<u2").tobytes(), layout, 1 << 30)
    assert payload is not None
    assert payload[42] == 12 - 1  # Ssiz of the first component (A.5.1)
    assert b"\xff\x58" in payload[:300]  # PLT: a low resolution can be cut out


def test_bits_in_use_beyond_those_stored_raise_the_precision() -> None:
    layout = Layout(allocated=16, rows=64, columns=64, stored=12)
    pixels = np.full((64, 64), 0x8001, "<u2")
    payload = Jpeg2000().encode(pixels.tobytes(), layout, 1 << 30)
    assert payload is not None
    assert payload[42] == 16 - 1
    assert Jpeg2000().decode(payload, layout, 8192) == pixels.tobytes()


def test_an_image_of_few_values_gains_from_ranks() -> None:
    layout = Layout(allocated=16, rows=128, columns=128, stored=16)
    noise = np.random.default_rng(2).integers(0, 16, (128, 128)) * 4001
    codec, payload = encode_block(noise.astype("<u2").tobytes(), layout)
    assert codec.name == "jpeg2000-ranked"
    plain = Jpeg2000().encode(noise.astype("<u2").tobytes(), layout, 1 << 30)
    assert plain is not None
    assert len(payload) < len(plain) / 2


def test_a_colour_image_gains_from_the_colour_transform() -> None:
    grey = np.cumsum(np.random.default_rng(3).integers(-3, 4, (96, 96)), axis=1)
    pixels = (grey[..., None] + np.array([100, 110, 120])).astype(np.uint8).tobytes()
    layout = Layout(rows=96, columns=96, samples=3, stored=8)
    plain = Jpeg2000().encode(pixels, layout, 1 << 30)
    transformed = Jpeg2000().encode(pixels, Layout(rows=96, columns=96, samples=3, stored=8, rgb=True), 1 << 30)
    assert plain is not None
    assert transformed is not None
    assert len(transformed) < len(plain) * 0.7


def test_colours_that_have_nothing_in_common_are_not_transformed() -> None:
    random = np.random.default_rng(4)
    channels = [np.full((64, 64), 7), random.integers(0, 256, (64, 64)), np.full((64, 64), 200)]
    pixels = np.stack(channels, axis=-1).astype(np.uint8).tobytes()
    layout = Layout(rows=64, columns=64, samples=3, stored=8, rgb=True)
    payload = Jpeg2000().encode(pixels, layout, 1 << 30)
    assert payload is not None
    cod = payload.index(b"\xff\x52")
    assert payload[cod + 8] == 0  # SGcod: no multiple component transformation (A.6.1)


@pytest.mark.parametrize("rows", [0, 65535])
def test_a_codestream_that_claims_another_shape_is_not_decoded(rows: int) -> None:
    layout = Layout(allocated=8, rows=64, columns=64, stored=8)
    payload = bytearray(Jpeg2000().encode(bytes(range(256)) * 16, layout, 1 << 30) or b"")
    payload[12:16] = rows.to_bytes(4, "big")  # Ysiz
    with pytest.raises(CodecError):
        Jpeg2000().decode(bytes(payload), layout, 4096)


@given(st.binary(max_size=200))
def test_noise_is_no_codestream(noise: bytes) -> None:
    layout = Layout(allocated=8, rows=16, columns=16, stored=8)
    for codec in (Jpeg2000(), RankedJpeg2000(), Zstd()):
        with pytest.raises(CodecError):
            codec.decode(noise, layout, 256)


def test_a_frame_that_claims_more_than_its_block_is_not_inflated() -> None:
    bomb = deflate(bytes(50_000_000))
    assert len(bomb) < 10_000
    with pytest.raises(CodecError):
        inflate(bomb, 1000)


def test_an_image_too_small_for_the_encoder_goes_to_the_next_codec() -> None:
    layout = Layout(allocated=16, rows=16, columns=16, stored=16)
    block = (np.arange(256) // 4).astype("<u2").tobytes()
    codec, payload = encode_block(block, layout)
    assert codec.name == "zstd"
    assert decode_block(codec.id, payload, layout, 512) == block


def test_an_unknown_codec_is_refused() -> None:
    with pytest.raises(CodecError):
        decode_block(99, b"", OPAQUE, 0)


@given(st.binary(max_size=100), st.sampled_from([1, 2, 4, 8]))
def test_sorted_bytes_come_back(data: bytes, width: int) -> None:
    assert unsort_bytes(sort_bytes(data, width), width) == data


@given(made=blocks())
@settings(deadline=None)
def test_an_array_is_the_block_again(made: tuple[Layout, bytes]) -> None:
    layout, block = made
    array = to_array(block, layout)
    assert array is not None
    assert to_block(array, layout) == block
