"""Previews of a real series: they stand at the front of its parcels, and are a small part of its bytes."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import data
from support.images import CONTEXT, source_of

from appliance.compress.codecs import BY_ID
from appliance.compress.codecs.resolutions import decode_small
from appliance.compress.parcel import PREAMBLE_BYTES, preamble_of
from appliance.compress.pool import WorkerPool
from appliance.compress.read import open_parcel
from appliance.config import Compress


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
