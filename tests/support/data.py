"""Where tests, benches and the demo find DICOM files.

Three sources, none of them copied into this repository: pydicom's own test files, the package `pydicom-data`, and
the shared series (whole CT and MR series, archives in `../shared/data` next to the checkout), which are unpacked once
into `.cache/` of the checkout. A test that reads a shared series is marked `needs_series`.
"""

from __future__ import annotations

import tarfile
import tempfile
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pydicom
from pydicom.errors import InvalidDicomError

CHECKOUT = Path(__file__).resolve().parents[2]
ARCHIVES = CHECKOUT.parent / "shared" / "data"
UNPACKED = CHECKOUT / ".cache" / "series"
PYDICOM_FILES = Path(pydicom.__file__).parent / "data" / "test_files"
SERIES = (
    "ct-head-philips-140",
    "mr-dti-philips-408",
    "mr-dwi-siemens-100",
    "mr-fmri-ge-150",
    "mr-t1-uih-80",
)


def pydicom_data_files() -> Path:
    """The directory of the larger files that the package `pydicom-data` ships."""
    spec = find_spec("data_store")
    if spec is None or spec.origin is None:
        raise LookupError("pydicom-data is not installed: run `./dev test` or `./dev demo`")
    return Path(spec.origin).parent / "data"


def file(name: str) -> Path:
    """One file by its name, such as `CT_small.dcm` (pydicom's) or `RG1_UNCR.dcm` (pydicom-data's)."""
    for directory in (PYDICOM_FILES, pydicom_data_files()):
        if (directory / name).is_file():
            return directory / name
    raise LookupError(f"neither pydicom nor pydicom-data has {name}")


@cache
def dicom_files() -> tuple[Path, ...]:
    """Every file of pydicom and pydicom-data that a modality could send: file meta, all UIDs, not a DICOMDIR."""
    found = []
    for directory in (PYDICOM_FILES, pydicom_data_files()):
        found += [path for path in sorted(directory.rglob("*")) if path.is_file() and _is_instance(path)]
    return tuple(found)


def _is_instance(path: Path) -> bool:
    needed = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
    try:
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(needed))
    except (InvalidDicomError, EOFError, ValueError):
        return False
    meta = getattr(header, "file_meta", None)
    return bool(meta and meta.get("TransferSyntaxUID") and all(header.get(name) for name in needed))


def series_present() -> bool:
    """Whether the archives of shared series stand next to this checkout."""
    return all((ARCHIVES / f"{name}.tar.xz").is_file() for name in SERIES)


@cache
def series(name: str) -> tuple[Path, ...]:
    """The files of one shared series in order, for example `series("ct-head-philips-140")`; unpacked when needed."""
    directory = UNPACKED / name
    if not directory.is_dir():
        _unpack(ARCHIVES / f"{name}.tar.xz", directory)
    return tuple(sorted(directory.glob("*.dcm")))


def _unpack(archive: Path, directory: Path) -> None:
    """Renames into place at the end, so that two test processes at once can't see half a series."""
    UNPACKED.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=UNPACKED) as temporary:
        with tarfile.open(archive) as opened:
            # Debian 12's first Python 3.11 has no filters yet; later ones warn when none is chosen.
            chosen = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
            opened.extractall(temporary, **chosen)
        try:
            (Path(temporary) / directory.name).rename(directory)
        except OSError:
            if not directory.is_dir():  # else another process was first
                raise
