"""Small DICOM instances, written element by element: quick to make by the thousand, and each holds the canary."""

from __future__ import annotations

import hashlib
import random
import struct
from dataclasses import dataclass
from typing import Final

from support import canary

SECONDARY_CAPTURE: Final = "1.2.840.10008.5.1.4.1.1.7"
EXPLICIT_LITTLE: Final = "1.2.840.10008.1.2.1"
_LONG: Final = frozenset({"OB", "OW", "OF", "OD", "SQ", "UN", "UT", "UC", "UR"})


@dataclass(frozen=True)
class TinyInstance:
    """What a modality sends: identifiers for the command set, and the data set bytes."""

    sop_instance_uid: str
    data: bytes
    sop_class_uid: str = SECONDARY_CAPTURE
    transfer_syntax_uid: str = EXPLICIT_LITTLE

    @property
    def digest(self) -> str:
        """SHA-256 of the data set bytes, 64 hex digits."""
        return hashlib.sha256(self.data).hexdigest()


def element(tag: int, vr: str, value: bytes | str) -> bytes:
    """One element in explicit VR little endian (PS3.5 7.1.2), padded to even length."""
    raw = value.encode("utf-8") if isinstance(value, str) else value
    if len(raw) % 2:
        raw += b"\0" if vr in {"UI", "OB", "UN"} else b" "
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr.encode())
    if vr in _LONG:
        return head + struct.pack("<HL", 0, len(raw)) + raw
    return head + struct.pack("<H", len(raw)) + raw


def make(
    study: int,
    number: int,
    *,
    space: str = "1",
    side: int = 8,
    name: str = canary.NAME,
    **changed: str,
) -> TinyInstance:
    """Instance `number` of `study`; `space` keeps the UIDs of two tests apart. The same arguments, the same bytes.

    `side`: rows and columns of 16-bit pixels. `changed` overrides texts: study_uid, series_uid, instance_uid.
    """
    study_uid = changed.get("study_uid", f"2.25.{space}.{study}")
    series_uid = changed.get("series_uid", f"2.25.{space}.{study}.1")
    instance_uid = changed.get("instance_uid", f"2.25.{space}.{study}.1.{number}")
    draw = random.Random(f"{space}/{study}/{number}")
    ramp = [((row + column) * 7 + draw.randrange(16)) & 0x0FFF for row in range(side) for column in range(side)]
    elements = [
        element(0x00080005, "CS", "ISO_IR 192"),
        element(0x00080016, "UI", SECONDARY_CAPTURE),
        element(0x00080018, "UI", instance_uid),
        element(0x00080020, "DA", "20261124"),
        element(0x00080030, "TM", "040000"),
        element(0x00080050, "SH", f"A{study}"),
        element(0x00080060, "CS", "OT"),
        element(0x00081030, "LO", canary.DESCRIPTION),
        element(0x00100010, "PN", name),
        element(0x00100020, "LO", canary.PATIENT_ID),
        element(0x00100030, "DA", canary.BIRTH_DATE),
        element(0x0020000D, "UI", study_uid),
        element(0x0020000E, "UI", series_uid),
        element(0x00200013, "IS", str(number)),
        element(0x00280002, "US", struct.pack("<H", 1)),
        element(0x00280004, "CS", "MONOCHROME2"),
        element(0x00280010, "US", struct.pack("<H", side)),
        element(0x00280011, "US", struct.pack("<H", side)),
        element(0x00280100, "US", struct.pack("<H", 16)),
        element(0x00280101, "US", struct.pack("<H", 12)),
        element(0x00280102, "US", struct.pack("<H", 11)),
        element(0x00280103, "US", struct.pack("<H", 0)),
        element(0x7FE00010, "OW", struct.pack(f"<{side * side}H", *ramp)),
    ]
    return TinyInstance(instance_uid, b"".join(elements))
