"""What goes to the front of a parcel: every image, as large as the share allows, or some of them; never more."""

from __future__ import annotations

import io

import msgspec
import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from support import data
from support.images import Image, data_set, source_of
from support.parcels import read, write

from appliance.compress.codecs.jpeg2000 import Jpeg2000, RankedJpeg2000
from appliance.compress.codecs.resolutions import decode_small
from appliance.compress.codecs.store import Store
from appliance.compress.layout import Layout
from appliance.compress.parcel import PREAMBLE_BYTES, Manifest, Preamble, read_preamble
from appliance.compress.previews import MANY, SHARE, Fronts, choose, fronts_of
from appliance.compress.read import open_parcel


def slices(count: int, side: int = 256) -> list[bytes]:
    """Data sets of noisy images: their low resolutions are a small part of them."""
    draw = np.random.default_rng(7)
    images = [(draw.integers(0, 400, (side, side)) + np.arange(side) * 8).astype(np.uint16) for _ in range(count)]
    shape = Image(side, side, stored=12)
    return [data_set(shape, pixels.tobytes(), number=number) for number, pixels in enumerate(images)]


def opened(parcel: bytes, tmp_path_factory: pytest.TempPathFactory) -> tuple[Preamble, Manifest]:
    file = tmp_path_factory.mktemp("parcel") / "a"
    file.write_bytes(parcel)
    with file.open("rb") as handle:
        return read_preamble(parcel, len(parcel)), open_parcel(handle.fileno(), None).manifest


fronts = st.one_of(
    st.just(()),
    st.tuples(st.integers(1, 500), st.integers(0, 500), st.integers(0, 500)).map(
        lambda parts: (sum(parts), parts[0] + parts[1], parts[0])
    ),
)


@given(st.lists(fronts, max_size=60), st.integers(0, 200_000))
def test_the_front_is_within_its_share_and_takes_no_block_that_has_no_image(sizes: list[Fronts], total: int) -> None:
    early = choose(sizes, total)
    assert len(early) in {0, len(sizes)}
    assert sum(early) <= total * SHARE
    assert all(first == 0 or first in of for first, of in zip(early, sizes, strict=False))


def test_a_few_images_have_larger_previews_than_many() -> None:
    of = (300, 200, 100)
    assert choose([of] * MANY, 1_000_000) == [300] * MANY
    assert choose([of] * MANY, MANY * 200 * 13) == [200] * MANY
    assert choose([of] * (MANY + 1), 1_000_000) == [100] * (MANY + 1)


def test_where_not_every_image_can_have_one_every_second_or_fourth_has() -> None:
    of = (300, 200, 100)
    assert choose([of] * 8, 400 * 13) == [0, 100] * 4
    assert choose([of] * 8, 200 * 13) == [0, 0, 100, 0] * 2
    assert choose([of] * 8, 100 * 13) == [0, 0, 0, 0, 100, 0, 0, 0]
    assert choose([of] * 8, 99 * 12) == []


def test_the_first_bytes_of_each_image_stand_before_the_rest_of_any(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    sets = slices(3)
    parcel = write(sets)
    preamble, manifest = opened(parcel, tmp_path_factory)
    assert preamble.front == sum(manifest.early) > 0
    assert all(manifest.early)
    at = PREAMBLE_BYTES + preamble.head
    for first in manifest.early:
        assert decode_small(parcel[at : at + first], 256).ndim == 2
        at += first
    assert at == preamble.preview_bytes <= PREAMBLE_BYTES + preamble.head + SHARE * preamble.blocks
    assert len(parcel) == at + sum(manifest.packed) - sum(manifest.early) + 32
    assert read(parcel) == sets


def test_blocks_without_an_image_stay_behind(tmp_path_factory: pytest.TempPathFactory) -> None:
    sets = [*slices(1), source_of(data.file("JPEG2000.dcm")).path.read_bytes()]
    preamble, manifest = opened(write(sets), tmp_path_factory)
    assert manifest.early[0] > 0
    assert not any(manifest.early[1:])
    plain, manifest = opened(write(slices(2), plain=True), tmp_path_factory)
    assert (plain.front, manifest.early) == (0, [])
    assert plain.preview_bytes == PREAMBLE_BYTES + plain.head
    assert preamble.front > 0


def test_what_a_payload_is_good_for_is_told_by_its_codec() -> None:
    sparse = (np.arange(128 * 128, dtype=np.uint16) // 500 * 97).reshape(128, 128)
    layout = Layout(allocated=16, rows=128, columns=128, stored=16)
    block = sparse.tobytes()
    for codec in (Jpeg2000(), RankedJpeg2000()):
        payload = codec.encode(block, layout, 1 << 20)
        assert payload is not None
        start = codec.image_at(payload)
        assert start is not None
        large, middle, small = fronts_of(codec, payload)
        assert len(payload) >= large >= middle > small > start
        assert decode_small(payload[start:small], 64).shape == (64, 64)
    assert fronts_of(Store(), block) == ()
    assert fronts_of(RankedJpeg2000(), b"\0") == ()


def test_a_parcel_of_version_1_is_still_read() -> None:
    sets = slices(2)
    new = write(sets)
    old = _as_version_1(new)
    assert old[8:16] == b"\x01" + bytes(7)
    assert read(old) == sets


def _as_version_1(parcel: bytes) -> bytes:
    """The same instances as a unit before the front would have packed them."""
    preamble = read_preamble(parcel, len(parcel))
    raw = zstandard.ZstdDecompressor().stream_reader(parcel[80 : 80 + preamble.head]).read(preamble.head_raw)
    fields = msgspec.json.decode(raw[: preamble.manifest])
    front, rests = io.BytesIO(parcel[80 + preamble.head :]), io.BytesIO(parcel[preamble.preview_bytes :])
    early = fields.pop("early")
    blocks = b"".join(
        front.read(first) + rests.read(whole - first) for first, whole in zip(early, fields["packed"], strict=True)
    )
    manifest = msgspec.json.encode(fields)
    plain = manifest + raw[preamble.manifest :]
    head = zstandard.ZstdCompressor().compress(plain)
    old = Preamble(
        head=len(head), manifest=len(manifest), head_raw=len(plain), blocks=len(blocks), front=0, version=1
    ).encode()
    return old + head + blocks + bytes(32)
