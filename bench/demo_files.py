"""Which files the demo sends: one of every kind that a hospital has.

Each is a study of its own, so that each goes in a parcel of its own, and what it cost on the wire is exact.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pydicom

FILES: Final = (
    "CT_small.dcm",
    "693_UNCR.dcm",
    "eCT_Supplemental.dcm",
    "MR_small.dcm",
    "MR2_UNCR.dcm",
    "MR-SIEMENS-DICOM-WithOverlays.dcm",
    "emri_small.dcm",
    "RG1_UNCR.dcm",
    "RG3_UNCR.dcm",
    "color-pl.dcm",
    "US1_J2KR.dcm",
    "ExplVR_BigEnd.dcm",
    "OBXXXX1A.dcm",
    "gdcm-US-ALOKA-16.dcm",
    "color3d_jpeg_baseline.dcm",
    "JPGLosslessP14SV1_1s_1f_8b.dcm",
    "JPEG-LL.dcm",
    "SC_rgb_rle_2frame.dcm",
    "mlut_18.dcm",
    "liver.dcm",
    "rtdose.dcm",
    "rtplan.dcm",
    "waveform_ecg.dcm",
    "reportsi.dcm",
    "test-SR.dcm",
)

_ENCODINGS: Final = {
    "1.2.840.10008.1.2": "implicit",
    "1.2.840.10008.1.2.2": "big endian",
    "1.2.840.10008.1.2.4.50": "JPEG",
    "1.2.840.10008.1.2.4.57": "JPEG lossless",
    "1.2.840.10008.1.2.4.70": "JPEG lossless",
    "1.2.840.10008.1.2.4.90": "JPEG 2000",
    "1.2.840.10008.1.2.5": "RLE",
}
_WIDEST: Final = 44


def what_it_is(path: Path) -> str:
    """A file for a person: `US 120 frames JPEG, color3d_jpeg_baseline`, cut to the column."""
    header = pydicom.dcmread(path, stop_before_pixels=True)
    words = [header.get("Modality") or "–"]
    frames = int(header.get("NumberOfFrames") or 1)
    if frames > 1:
        words.append(f"{frames} frames")
    if "PALETTE" in header.get("PhotometricInterpretation", ""):
        words.append("palette")
    if encoding := _ENCODINGS.get(header.file_meta.TransferSyntaxUID):
        words.append(encoding)
    return f"{' '.join(words)}, {path.stem}"[:_WIDEST]
