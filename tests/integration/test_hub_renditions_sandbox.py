"""What a decoder that was taken over can do: cost its own instance, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support import data, images
from support.images import Image
from support.renditions import Archive

from appliance.config import Compress
from appliance.hub.renditions.renditions import Renditions
from appliance.hub.renditions.values import NotMadeError, Reason
from appliance.part10.meta import FileMeta, encode_prefix
from appliance.part10.transfer_syntax import EXPLICIT_LITTLE, IMPLICIT_LITTLE


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with Archive(tmp_path / "hub", compress=Compress(workers=2, wall_seconds=3)) as made:
        yield made


@pytest.fixture
def door(archive: Archive) -> Iterator[Renditions]:
    with archive.door(jobs="support.hostile_renditions") as opened:
        yield opened


def harmful(harm: str) -> bytes:
    pixels = f"HARM:{harm}".encode().ljust(32 * 32, b"\0")
    content = images.data_set(Image(32, 32, allocated=8, stored=8), pixels)
    return encode_prefix(FileMeta(images.SECONDARY_CAPTURE, "1.2.3.1", EXPLICIT_LITTLE)) + content


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        ("crash", Reason.BROKE),
        ("hang", Reason.BROKE),
        ("slander", Reason.BROKE),
        ("other", Reason.CHANGED),
        ("nothing", Reason.CHANGED),
    ],
)
def test_it_costs_this_instance_alone_and_leaves_nothing(
    archive: Archive, door: Renditions, harm: str, reason: Reason
) -> None:
    bad, good = archive.add(harmful(harm), 1), archive.add(data.file("CT_small.dcm").read_bytes(), 2)
    with pytest.raises(NotMadeError) as refused:
        archive.get(bad, IMPLICIT_LITTLE, door=door)
    assert refused.value.reason is reason
    assert "SECRET" not in refused.value.message
    assert archive.get(good, IMPLICIT_LITTLE, door=door)[0] == IMPLICIT_LITTLE
    assert archive.get(bad, EXPLICIT_LITTLE, door=door) == (EXPLICIT_LITTLE, harmful(harm))  # as stored it is given
    assert len(archive.objects()) == 3
    assert not list((archive.data / "renditions").glob("process-*/tmp*"))
