"""Writes the previews of a study as PNG files, under names of our own that say what they are."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import msgspec

from appliance.hub.index.previews import PreviewFacts
from appliance.hub.index.studies import number
from appliance.hub.previewing import path_of


class WrittenPreview(msgspec.Struct, frozen=True, kw_only=True):
    """One file, as `--json` prints it. It is not for diagnosis, and nothing in it is proved."""

    file: str
    series_instance_uid: str
    series_number: str
    sop_instance_uid: str
    instance_number: str
    frame: int


def write_previews(found: Sequence[PreviewFacts], data: Path, directory: Path) -> list[WrittenPreview]:
    """Copies them as `series-001/0001-preview-not-for-diagnosis.png` and so on, by series and instance number.

    One that was cleaned away meanwhile is passed over.
    """
    written = []
    ordered = sorted(found, key=_order)
    for position, (_, series) in enumerate(groupby(ordered, lambda one: one.series_instance_uid), 1):
        folder = directory / f"series-{position:03d}"
        folder.mkdir()
        for count, one in enumerate(series, 1):
            path = folder / f"{count:04d}-preview-not-for-diagnosis.png"
            try:
                shutil.copyfile(path_of(data, one.parcel_name, one.block), path)
            except FileNotFoundError:
                continue
            written.append(_written(one, str(path.relative_to(directory))))
    return written


def _order(one: PreviewFacts) -> tuple[tuple[int, str], str, tuple[int, str], str, int]:
    numbers = number(one.series_number), number(one.instance_number)
    return (numbers[0], one.series_instance_uid, numbers[1], one.sop_instance_uid, one.frame)


def _written(one: PreviewFacts, file: str) -> WrittenPreview:
    names = set(WrittenPreview.__struct_fields__) - {"file"}
    return WrittenPreview(file=file, **{name: getattr(one, name) for name in names})
