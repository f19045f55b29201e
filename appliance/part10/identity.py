"""Reads from a data set what it takes to file it: UIDs, patient, study and series (PS3.3 C.7)."""

from __future__ import annotations

import io
import re
import zlib
from typing import Any, BinaryIO, Final

from appliance.errors import DicomError
from appliance.model.identity import InstanceIdentity
from appliance.part10.elements import read_plain, walk
from appliance.part10.text import decode, encodings_of
from appliance.part10.transfer_syntax import EXPLICIT, encoding_of

# Elements to read: tag → field. Text (decoded with the data set's character set) or code (ASCII).
_CHARACTER_SET: Final = 0x00080005
_FIELDS: Final = {
    0x00080016: "sop_class_uid",
    0x00080018: "sop_instance_uid",
    0x00080020: "study_date",
    0x00080030: "study_time",
    0x00080050: "accession_number",
    0x00080060: "modality",
    0x00080090: "referring_physician",
    0x00081030: "study_description",
    0x0008103E: "series_description",
    0x00100010: "patient_name",
    0x00100020: "patient_id",
    0x00100021: "issuer_of_patient_id",
    0x00100030: "patient_birth_date",
    0x00100040: "patient_sex",
    0x00180015: "body_part",
    0x0020000D: "study_instance_uid",
    0x0020000E: "series_instance_uid",
    0x00200011: "series_number",
    0x00200013: "instance_number",
    0x00280008: "number_of_frames",
}
_LAST: Final = max(_FIELDS)
_READ: Final = frozenset({_CHARACTER_SET, *_FIELDS})
_UIDS: Final = ("study_instance_uid", "series_instance_uid", "sop_class_uid", "sop_instance_uid")
_LONGEST_VALUE: Final = (
    1024  # bytes read of one value; the longest legal one here is a person name of 3 × 64 characters
)
_LONGEST_TEXT: Final = 256
_ELEMENTS_MAX: Final = 200_000  # before (0028,0008); nested ones counted
HEADER_MAX: Final = 4 << 20  # bytes of a deflated data set that are inflated to look for identity
_UID: Final = re.compile(r"[0-9][0-9.]{0,63}")


def valid_uid(uid: str) -> bool:
    """Whether this may be a UID (PS3.5 9.1): digits and dots, at most 64 characters. Leading zeros are let pass."""
    return _UID.fullmatch(uid) is not None


def read_identity(stream: BinaryIO, transfer_syntax_uid: str, size: int) -> InstanceIdentity:
    """The identity of the data set of `size` bytes at which `stream` stands.

    It reads up to (0028,0008) at most, so a stream that holds only the first part will do when that part is in it.
    Raises DicomError when the bytes can't be walked or one of the four UIDs is missing or malformed.
    """
    encoding = encoding_of(transfer_syntax_uid)
    if encoding.deflated:
        stream, size = inflated_head(stream, size)
    base = stream.tell()
    raw: dict[int, bytes] = {}
    try:
        for element in walk(stream, encoding, size, elements_max=_ELEMENTS_MAX):
            if element.tag > _LAST:
                break
            if element.tag in _READ and not element.undefined:
                stream.seek(base + element.value_offset)
                raw[element.tag] = stream.read(min(element.value_end - element.value_offset, _LONGEST_VALUE))
    except DicomError:
        # Broken off after the last UID that is needed: it can be filed, so it is.
        if 0x0020000E not in raw:
            raise
    return _identity(raw)


def identity_in(head: bytes | bytearray, transfer_syntax_uid: str) -> InstanceIdentity | None:
    """What `read_identity` would tell, when the first bytes of the data set are enough and plain; else None.

    Raises DicomError when one of the four UIDs is missing or malformed.
    """
    if encoding_of(transfer_syntax_uid) != EXPLICIT:
        return None
    found = read_plain(head, _READ, _LAST)
    if found is None:
        return None
    spans = {tag: slice(start, min(end, start + _LONGEST_VALUE)) for tag, (start, end) in found.items()}
    return _identity({tag: bytes(head[span]) for tag, span in spans.items()})


def inflated_head(stream: BinaryIO, size: int) -> tuple[BinaryIO, int]:
    """The first HEADER_MAX bytes of a deflated data set: bounded, whatever the stream would inflate to.

    Raises DicomError.
    """
    try:
        head = zlib.decompressobj(-zlib.MAX_WBITS).decompress(stream.read(min(size, HEADER_MAX)), HEADER_MAX)
    except zlib.error as error:
        raise DicomError("The data set is said to be deflated, and is not") from error
    return io.BytesIO(head), len(head)


def _identity(raw: dict[int, bytes]) -> InstanceIdentity:
    encodings = encodings_of(raw.get(_CHARACTER_SET, b""))
    decoded = {field: decode(raw[tag], encodings) for tag, field in _FIELDS.items() if tag in raw}
    texts: dict[str, Any] = {field: text[:_LONGEST_TEXT].rstrip() for field, text in decoded.items()}
    for field in _UIDS:
        if not valid_uid(texts.get(field, "")):
            raise DicomError(f"The data set's {field} is missing or malformed")
    frames = texts.pop("number_of_frames", "")
    texts["number_of_frames"] = int(frames) if re.fullmatch(r"[0-9]{1,6}", frames) and int(frames) else 1
    texts["patient_name"] = texts.get("patient_name", "").rstrip("^= ")
    return InstanceIdentity(**texts)
