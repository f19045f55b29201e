"""The parcel format: what was put in comes out; what it claims is checked before anything is inflated."""

from __future__ import annotations

import dataclasses
import hashlib
import random
import string
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.images import BIG, EXPLICIT, IMPLICIT, Image, data_set
from support.parcels import read, write
from support.tiny_instances import element

from appliance.compress.codecs.base import CodecError
from appliance.compress.layout import Layout
from appliance.compress.parcel import (
    BLOCKS_MAX,
    INSTANCES_MAX,
    MAGIC,
    PREAMBLE_BYTES,
    Manifest,
    Preamble,
    entries,
    read_manifest,
    read_preamble,
)
from appliance.errors import ParcelError

MANIFEST = Manifest(
    study="1.2.3",
    site="site-1",
    priority="routine",
    digests="00" * 32,
    syntaxes=[EXPLICIT],
    sop_classes=["1.2.840.10008.5.1.4.1.1.7"],
    callers=["CT1"],
    layouts=[Layout(), Layout(allocated=16, rows=8, columns=8, stored=12)],
    keep=[0],
    uid=["1.2.1", "1.2.2"],
    syntax=[0, 0],
    sop_class=[0, 0],
    caller=[0, 0],
    layout=[0, 1],
    received_at=[1000, 5],
    prefix=[100, 110],
    body=[0, 256],
    suffix=[0, 6],
    codec=[2, 1],
    packed=[50, 60],
)


def preamble_of(manifest: bytes, **changed: Any) -> Preamble:
    right = Preamble(head=10, manifest=len(manifest), head_raw=len(manifest) + 216, blocks=110)
    return dataclasses.replace(right, **changed)


def image(number: int, image_: Image, syntax: str = EXPLICIT) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 200, image_.value_bytes).astype(np.uint8).tobytes()
    return data_set(image_, pixels, syntax=syntax, number=number)


@st.composite
def data_sets(draw: st.DrawFn) -> tuple[str, list[bytes]]:
    syntax = draw(st.sampled_from([IMPLICIT, EXPLICIT, BIG]))
    made = []
    for number in range(draw(st.integers(1, 3))):
        allocated = draw(st.sampled_from([1, 8, 12, 16, 32]))
        samples = draw(st.sampled_from([1, 3]))
        shape = Image(
            rows=draw(st.integers(0, 20)),
            columns=draw(st.integers(1, 20)),
            samples=samples,
            allocated=allocated,
            stored=draw(st.integers(1, allocated)),
            signed=draw(st.booleans()),
            planar=draw(st.integers(0, 1)),
            frames=draw(st.integers(1, 3)),
            photometric=draw(st.sampled_from(["MONOCHROME2", "RGB", "YBR_FULL", "YBR_FULL_422", "PALETTE COLOR"])),
        )
        data = image(number, shape, syntax)
        made.append(data[: draw(st.integers(0, len(data)))] if draw(st.integers(0, 9)) == 0 else data)
    return syntax, made


@given(data_sets())
@settings(max_examples=150, deadline=None)
def test_data_sets_of_any_shape_come_back_byte_for_byte(made: tuple[str, list[bytes]]) -> None:
    syntax, given_ = made
    assert read(write(given_, syntax=syntax)) == given_


def test_a_plain_instance_touches_no_codec() -> None:
    data = [image(1, Image(16, 16))]
    parcel = write(data, plain=True)
    assert data[0] in parcel
    assert read(parcel) == data


def test_the_same_instances_give_the_same_bytes() -> None:
    data = [image(number, Image(16, 16, stored=8)) for number in range(5)]
    assert write(data) == write(data)


def test_an_earlier_header_as_dictionary_makes_a_header_smaller_and_is_needed_to_read_it() -> None:
    text = random.Random(5).choices(string.ascii_letters, k=3000)
    long_text = element(0x00081030, "UT", "".join(text))
    first, second = (long_text + image(number, Image(8, 8)) for number in (1, 2))
    header = first[:-128]
    with_it = write([second], dictionary=header)
    assert len(with_it) < len(write([second])) - 2000
    assert with_it[48:80] == hashlib.sha256(header).digest()
    assert read(with_it, header) == [second]
    with pytest.raises(ParcelError):
        read(with_it, header[::-1])


def test_a_preamble_is_what_the_protocol_says() -> None:
    data = Preamble(head=1, manifest=2, head_raw=3, blocks=4, dictionary=b"d" * 32, front=3).encode()
    lengths = b"".join(number.to_bytes(8, "little") for number in (1, 2, 3, 4))
    assert data == MAGIC + b"\x02\0\0\0\x03\0\0\0" + lengths + b"d" * 32
    assert len(data) == PREAMBLE_BYTES == 80


@pytest.mark.parametrize(
    ("at", "value"),
    [(0, 0), (8, 3), (8, 0), (10, 1), (12, 5), (16, 9), (31, 1), (24, 0), (40, 9)],
    ids=["magic", "version", "no version", "reserved", "front", "size", "manifest huge", "manifest empty", "blocks"],
)
def test_a_preamble_that_claims_the_impossible_is_refused(at: int, value: int) -> None:
    data = bytearray(Preamble(head=1, manifest=2, head_raw=3, blocks=4).encode())
    data[at] = value
    with pytest.raises(ParcelError):
        read_preamble(bytes(data), 80 + 5 + 32)


def test_a_manifest_names_each_instance() -> None:
    data = MANIFEST.encode()
    manifest = read_manifest(data, preamble_of(data))
    first, second = entries(manifest)
    assert (first.sop_instance_uid, first.keep, first.received_at, first.first_block) == ("1.2.1", True, 1000, 0)
    assert (second.received_at, second.bytes, second.first_block) == (1005, 372, 0)


def _changed(**values: Any) -> Callable[[], Manifest]:
    return lambda: msgspec.structs.replace(MANIFEST, **values)


@pytest.mark.parametrize(
    "make",
    [
        _changed(study="../etc"),
        _changed(uid=["1.2.1"]),
        _changed(uid=["1.2.1", "1.2.2/../3"]),
        _changed(uid=["1" * 65, "1.2.2"]),
        _changed(prefix=[100, 111]),
        _changed(prefix=[-1, 211]),
        _changed(body=[0, 1 << 49]),
        _changed(body=[0, 1 << 47]),
        _changed(layout=[0, 2]),
        _changed(syntax=[0, 1]),
        _changed(keep=[2]),
        _changed(packed=[50, 61]),
        _changed(packed=[110]),
        _changed(codec=[2]),
        _changed(layouts=[Layout(), Layout(allocated=16, rows=65535, columns=65535, samples=4)]),
        _changed(layouts=[Layout(), Layout(allocated=16, rows=-8, columns=-8)]),
        _changed(layouts=[Layout(), Layout(allocated=1, rows=1, columns=1)]),
        _changed(layouts=[Layout(), Layout(allocated=7, rows=8, columns=8)]),
        _changed(site="x" * 65),
        _changed(digests="00"),
        _changed(received_at=[1 << 63, 5]),
        _changed(received_at=[1000, -(1 << 62)]),
        _changed(early=[1, 0]),
        _changed(early=[-1, 1]),
    ],
)
def test_a_manifest_that_claims_the_impossible_is_refused(make: Callable[[], Manifest]) -> None:
    data = make().encode()
    with pytest.raises(ParcelError):
        read_manifest(data, preamble_of(data))


@pytest.mark.parametrize("early", [[51, 0], [0, 61], [50], [20, 20, 11], []], ids=str)
def test_a_front_that_the_blocks_do_not_have_is_refused(early: list[int]) -> None:
    data = msgspec.structs.replace(MANIFEST, early=early).encode()
    with pytest.raises(ParcelError):
        read_manifest(data, preamble_of(data, front=51))


def test_a_manifest_of_version_1_has_no_front() -> None:
    data = msgspec.structs.replace(MANIFEST, early=[20, 31]).encode()
    assert read_manifest(data, preamble_of(data, front=51)).early == [20, 31]
    with pytest.raises(ParcelError):
        read_manifest(data, preamble_of(data, front=51, version=1))
    with pytest.raises(ParcelError):
        read_preamble(preamble_of(data, front=51, version=1).encode(), 80 + 10 + 110 + 32)


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff\xfe", b'{"study":' * 200_000])
def test_what_is_no_manifest_is_refused(data: bytes) -> None:
    with pytest.raises(ParcelError):
        read_manifest(data, preamble_of(data))


def test_counts_have_ceilings() -> None:
    many = INSTANCES_MAX + 1
    columns = {
        name: [0] * many
        for name in ("syntax", "sop_class", "caller", "layout", "received_at", "prefix", "body", "suffix")
    }
    data = msgspec.structs.replace(MANIFEST, uid=["1.2"] * many, keep=[], **columns).encode()
    with pytest.raises(ParcelError, match="unequal"):
        read_manifest(data, preamble_of(data))
    tiny = Layout(allocated=8, rows=1, columns=1)
    blocks = BLOCKS_MAX + 1
    data = msgspec.structs.replace(
        MANIFEST, layouts=[Layout(), tiny], body=[0, blocks], codec=[0] * blocks, packed=[0] * blocks
    ).encode()
    with pytest.raises(ParcelError, match="number of blocks"):
        read_manifest(data, preamble_of(data))


def test_a_field_of_a_later_version_is_ignored() -> None:
    data = MANIFEST.encode()[:-1] + b',"colour":"blue"}'
    assert read_manifest(data, preamble_of(data)).study == "1.2.3"


def test_a_head_that_is_shorter_than_it_claims_is_refused() -> None:
    parcel = write([image(1, Image(8, 8))])
    with pytest.raises((ParcelError, CodecError)):
        read(parcel[: PREAMBLE_BYTES + 40] + parcel[PREAMBLE_BYTES + 41 :])
