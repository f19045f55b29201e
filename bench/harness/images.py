"""Images of the benches: copies of real series under other UIDs, and a synthetic CT of any length.

The synthetic CT is made slice by slice from its number alone, so a run of 2,000 needs no more memory than one of 200,
and two runs send the same bytes. Its noise is chosen so that it compresses like the real head CT.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

ROWS = COLUMNS = 512
_ROOT = "2.25.2036854775807"


def copies(files: Sequence[Path], directory: Path, count: int) -> list[Path]:
    """`count` directories with these files, each a study of its own: study, series and SOP instance have other UIDs."""
    made = []
    for number in range(1, count + 1):
        target = directory / f"study-{number}"
        if not target.is_dir():
            partial = directory / f"study-{number}.part"
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            for file in files:
                _renamed(file, f".{number}").save_as(partial / file.name)
            partial.rename(target)
        made.append(target)
    return made


def _renamed(file: Path, suffix: str) -> Dataset:
    image = dcmread(file)
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        uid = str(image[keyword].value)
        setattr(image, keyword, UID(uid[: 64 - len(suffix)] + suffix))
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    return image


def synthetic_series(directory: Path, slices: int) -> Path:
    """`directory`, new, with that many files of the synthetic CT."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    for number, image in enumerate(synthetic_ct(slices, study=slices), 1):
        image.save_as(directory / f"{number:05d}.dcm", enforce_file_format=True)
    return directory


def synthetic_ct(slices: int, study: int) -> Iterator[Dataset]:
    """The slices of one CT series, 512×512, 16 bits, Explicit VR Little Endian, as one study numbered `study`."""
    body, air, bone = _phantom()
    for number in range(1, slices + 1):
        yield _slice(_pixels(body, air, bone, study * 100_000 + number), study, number)


def _phantom() -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.float32]]:
    """A body in HU without noise, where the air around it is, and a ring of bone."""
    y, x = np.mgrid[-1 : 1 : ROWS * 1j, -1 : 1 : COLUMNS * 1j].astype(np.float32)
    radius = np.hypot(x / 0.72, y / 0.85)
    body = np.where(radius < 1, 35 + 12 * np.sin(9 * x) * np.cos(7 * y), -1000).astype(np.float32)
    bone = np.where((radius > 0.86) & (radius < 0.96), 900, 0).astype(np.float32)
    return body, radius >= 1, bone


def _pixels(
    body: NDArray[np.float32], air: NDArray[np.bool_], bone: NDArray[np.float32], seed: int
) -> NDArray[np.int16]:
    """Quantum noise, smoothed by the kernel as a scanner's is, less of it in the air; 12 bits."""
    noise = np.random.default_rng(seed).standard_normal((ROWS, COLUMNS), dtype=np.float32)
    smooth = noise + 0.5 * (np.roll(noise, 1, 0) + np.roll(noise, 1, 1))
    smooth *= np.where(air, np.float32(1.5), np.float32(6.0))
    drift = np.float32(10 * np.sin(seed / 40))
    return np.clip(body + bone + drift + smooth, -1024, 3071).astype(np.int16)


def _slice(pixels: NDArray[np.int16], study: int, number: int) -> Dataset:
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.SOPClassUID = CTImageStorage
    image.SOPInstanceUID = UID(f"{_ROOT}.{study}.1.{number}")
    image.StudyInstanceUID = UID(f"{_ROOT}.{study}")
    image.SeriesInstanceUID = UID(f"{_ROOT}.{study}.1")
    image.PatientName, image.PatientID = "Bench^Memory", f"B{study}"
    image.PatientBirthDate, image.PatientSex = "", ""
    image.StudyDate, image.StudyTime, image.StudyID = "20261124", "060000", str(study)
    image.AccessionNumber, image.ReferringPhysicianName = "", ""
    image.Modality, image.Manufacturer, image.SeriesNumber = "CT", "synthetic", 1
    image.InstanceNumber = number
    image.ImagePositionPatient = [-128, -128, number * 0.625]
    image.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    image.FrameOfReferenceUID = UID(f"{_ROOT}.{study}.2")
    image.PixelSpacing, image.SliceThickness, image.KVP = [0.5, 0.5], 0.625, 120
    image.RescaleIntercept, image.RescaleSlope = 0, 1
    image.WindowCenter, image.WindowWidth = 40, 80
    image.Rows, image.Columns, image.SamplesPerPixel = ROWS, COLUMNS, 1
    image.PhotometricInterpretation = "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 1
    image.PixelData = pixels.tobytes()
    return image
