"""Previews of a real series: they stand at the front of its parcels, and are a small part of its bytes."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pydicom
import pytest
from support import data
from support.images import CONTEXT, source_of

from appliance.compress.codecs import BY_ID
from appliance.compress.codecs.resolutions import decode_small
from appliance.compress.parcel import PREAMBLE_BYTES, preamble_of
from appliance.compress.pool import WorkerPool
from appliance.compress.read import open_parcel
from appliance.compress.values import PackedParcel
from appliance.config import Compress
from appliance.errors import ParcelError, UnknownDictionaryError


@pytest.mark.needs_series
def test_the_first_tenth_of_a_ct_has_every_preview_and_every_fact_when_previews_go_first(tmp_path: Path) -> None:
    left = [source_of(path, keep_header=number == 0) for number, path in enumerate(data.series("ct-head-philips-140"))]
    total = front = images = 0
    with WorkerPool(Compress(parcel_instances=48)) as pool:
        while left:
            path = tmp_path / f"{len(left)}.parcel"
            packed = pool.pack(left, CONTEXT, None, path)
            left = left[packed.instances :]
            total += packed.bytes
            front += packed.preview_bytes
            images += _previews(path)
    assert images == 140
    assert front < 0.04 * total  # measured: 2.8 %, of which 2.1 % are previews


def _previews(path: Path) -> int:
    """How many slices have their image of 64 × 64 pixels before `preview_bytes`."""
    with path.open("rb") as file:
        preamble = preamble_of(file)
        manifest = open_parcel(file.fileno(), None).manifest
    front = path.read_bytes()[: preamble.preview_bytes]
    at = PREAMBLE_BYTES + preamble.head
    for codec, first in zip(manifest.codec, manifest.early, strict=True):
        payload = front[at : at + first]
        start = BY_ID[codec].image_at(payload)
        assert start is not None
        assert decode_small(payload[start:], 64).shape == (64, 64)
        at += first
    return len(manifest.early)


SLICES = tuple(range(0, 140, 20))


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    with WorkerPool(Compress()) as opened:
        yield opened


def pack(pool: WorkerPool, paths: Sequence[Path], out: Path, dictionary: bytes | None = None) -> PackedParcel:
    study = str(pydicom.dcmread(paths[0], specific_tags=["StudyInstanceUID"]).StudyInstanceUID)
    context = replace(CONTEXT, study_instance_uid=study)
    sources = [source_of(path, keep_header=number == 0) for number, path in enumerate(paths)]
    return pool.pack(sources, context, dictionary, out)


def no_dictionary(_: bytes) -> None:
    return None


@pytest.mark.needs_series
def test_previews_come_out_of_the_part_that_is_there_one_after_the_other(pool: WorkerPool, tmp_path: Path) -> None:
    paths = [data.series("ct-head-philips-140")[number] for number in SLICES]
    whole = tmp_path / "whole"
    packed = pack(pool, paths, whole)
    part = tmp_path / "part"
    ask = partial(pool.previews, part, no_dictionary, length=packed.bytes)

    part.write_bytes(whole.read_bytes()[: packed.preview_bytes - 1])
    assert ask(have=100).previews == ()
    half = ask(have=packed.preview_bytes - 1)
    part.write_bytes(whole.read_bytes()[: packed.preview_bytes])
    assert half == ask(have=packed.preview_bytes - 1)
    assert (len(half.previews), half.after, half.complete) == (len(paths) - 1, len(paths) - 1, False)
    rest = ask(have=packed.preview_bytes, after=half.after)
    assert (len(rest.previews), rest.complete) == (1, True)
    assert rest == ask(have=packed.bytes, after=half.after)
    names = [one.identity.sop_instance_uid for one in (*half.previews, *rest.previews)]
    assert names == [pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID for path in paths]
    for one in half.previews:
        assert one.png.startswith(b"\x89PNG")
        assert b"Preview, not for diagnosis" in one.png


def test_a_part_that_needs_a_header_the_hub_lacks_says_so(pool: WorkerPool, tmp_path: Path) -> None:
    path = tmp_path / "a"
    packed = pack(pool, [data.file("RG1_UNCR.dcm")], path, dictionary=b"header" * 100)
    with pytest.raises(UnknownDictionaryError):
        pool.previews(path, no_dictionary, length=packed.bytes, have=packed.bytes)
    assert len(pool.previews(path, lambda _: b"header" * 100, length=packed.bytes, have=packed.bytes).previews) == 1


def test_a_broken_part_gives_fewer_previews_or_is_refused_and_never_ends_the_pool(
    pool: WorkerPool, tmp_path: Path, rounds: int
) -> None:
    path = tmp_path / "a"
    packed = pack(pool, [data.file("RG3_UNCI.dcm")], path)
    right = path.read_bytes()
    draw = random.Random(6)
    for _ in range(rounds or 30):
        broken = bytearray(right[: packed.preview_bytes])
        start = draw.choice([0, 80, packed.preview_bytes - 8000])
        for _ in range(draw.randint(1, 5)):
            broken[draw.randrange(start, len(broken))] = draw.randrange(256)
        path.write_bytes(broken)
        try:
            found = pool.previews(path, no_dictionary, length=packed.bytes, have=len(broken))
        except ParcelError:
            continue
        assert len(found.previews) <= 1
    path.write_bytes(right)
    assert len(pool.previews(path, no_dictionary, length=packed.bytes, have=packed.bytes).previews) == 1
