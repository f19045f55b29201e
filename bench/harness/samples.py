"""What is sent over the line: slices of the shared CT and a radiograph, plain and as JPEG 2000, named by UID."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pydicom.uid import JPEG2000Lossless
from support import data

SERIES = "ct-head-philips-140"
RADIOGRAPH = "RG3_UNCR.dcm"


@dataclass(frozen=True)
class Sample:
    """One instance as two files of the same name, `UID.dcm`: as the modality sends it, and in lossless JPEG 2000."""

    uid: str
    plain: Path
    j2k: Path

    def file(self, *, j2k: bool) -> Path:
        """One of the two."""
        return self.j2k if j2k else self.plain


def slices(directory: Path, count: int) -> list[Sample]:
    """The first `count` slices of the CT, prepared below `directory` once."""
    return [_prepare(file, directory) for file in data.series(SERIES)[:count]]


def radiograph(directory: Path) -> Sample:
    """A radiograph of about 6 MB."""
    return _prepare(data.file(RADIOGRAPH), directory)


def size(samples: Sequence[Sample], *, j2k: bool) -> int:
    """Bytes of their files."""
    return sum(sample.file(j2k=j2k).stat().st_size for sample in samples)


def _prepare(source: Path, directory: Path) -> Sample:
    image = dcmread(source)
    uid = str(image.SOPInstanceUID)
    sample = Sample(uid, directory / "plain" / f"{uid}.dcm", directory / "j2k" / f"{uid}.dcm")
    for file in (sample.plain, sample.j2k):
        file.parent.mkdir(parents=True, exist_ok=True)
    if not sample.plain.exists():
        sample.plain.write_bytes(source.read_bytes())
    if not sample.j2k.exists():
        image.compress(JPEG2000Lossless, encoding_plugin="pylibjpeg", generate_instance_uid=False)
        partial = sample.j2k.with_suffix(f".{os.getpid()}")  # two benches at once
        image.save_as(partial)
        partial.rename(sample.j2k)
    return sample
