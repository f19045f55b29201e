"""What the header says of its pixels once they are in another form (PS3.3 C.7.6.3.1, C.7.6.1.1.5; PS3.5 8.2, A.4)."""

from __future__ import annotations

from typing import BinaryIO, Final

from appliance.hub.renditions.pixels import LOSSY, LOSSY_METHOD, LOSSY_RATIO, PHOTOMETRIC, PLANAR, Image
from appliance.hub.renditions.source import Source
from appliance.hub.renditions.values import NotMadeError, Reason

_OFFSETS: Final = (0x7FE00001, 0x7FE00002, 0x7FE00003)  # of encapsulated frames
_GREYS: Final = frozenset({"MONOCHROME1", "MONOCHROME2", "PALETTE COLOR"})
# A decoder undoes the transforms of JPEG 2000, and gives each pixel of JPEG its own chrominance.
_DECODED: Final = {"RGB": "RGB", "YBR_RCT": "RGB", "YBR_ICT": "RGB", "YBR_FULL": "YBR_FULL", "YBR_FULL_422": "YBR_FULL"}
_JPEG: Final = {"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"}
_NEAR_LOSSLESS: Final = "1.2.840.10008.1.2.4.81"
_WAVELETS: Final = {"1.2.840.10008.1.2.4.91": "ISO_15444_1", "1.2.840.10008.1.2.4.203": "ISO_15444_15"}
_HEAD: Final = 1 << 16


def colours_of(image: Image, *, encapsulated: bool) -> str:
    """The photometric interpretation of decoded frames. Raises NotMadeError for one that is not transcoded."""
    if image.samples == 1 and image.photometric in _GREYS:
        return image.photometric
    known = _DECODED.get(image.photometric) if image.samples == 3 else None
    if known is None or (known != image.photometric and not encapsulated):
        raise NotMadeError(Reason.UNSUPPORTED)
    return known


def changes_of(source: Source, photometric: str) -> dict[int, bytes | None]:
    """What is other in the header of a file whose pixels were decoded: colour by pixel; lossy once is lossy ever."""
    changes: dict[int, bytes | None] = dict.fromkeys(_OFFSETS)
    changes[PHOTOMETRIC] = _even(photometric)
    if source.image.samples == 3:
        changes[PLANAR] = b"\0\0"
    method = _lossy_method(source)
    if method:
        changes[LOSSY] = b"01"
        if not source.image.has(LOSSY_METHOD):
            changes[LOSSY_METHOD] = _even(method)
        if not source.image.has(LOSSY_RATIO):
            changes[LOSSY_RATIO] = _even(f"{source.image.native_bytes / max(1, source.size):.2f}")
    return changes


def _lossy_method(source: Source) -> str:
    """How the source's own encoding lost something (PS3.3 C.7.6.1.1.5.1); empty when nothing says that it did."""
    uid = source.meta.transfer_syntax_uid
    if uid in _JPEG:
        return "ISO_10918_1"
    if (uid not in _WAVELETS and uid != _NEAR_LOSSLESS) or source.pixels is None:
        return ""
    head = _first_frame(source.file, source.offset + source.pixels.value_offset)
    if uid == _NEAR_LOSSLESS:
        return "ISO_14495_1" if _near(head) else ""
    at = head.find(b"\xff\x52")  # COD, ISO/IEC 15444-1 A.6.1: the wavelet is its 14th byte
    irreversible = at >= 0 and head[at + 13 : at + 14] == b"\0"
    return _WAVELETS[uid] if irreversible else ""


def _first_frame(file: BinaryIO, at: int) -> bytes:
    """Bytes from behind the offset table on."""
    file.seek(at + 4)
    table = int.from_bytes(file.read(4), "little")
    file.seek(at + 8 + table + 8)
    return file.read(_HEAD)


def _near(head: bytes) -> bool:
    """Whether the first scan may differ from what was coded (NEAR of SOS, ISO/IEC 14495-1 C.2.3)."""
    at = head.find(b"\xff\xda")
    if at < 0 or at + 5 > len(head):
        return True
    return head[at + 5 + 2 * head[at + 4] : at + 6 + 2 * head[at + 4]] != b"\0"


def _even(text: str) -> bytes:
    return text.encode("ascii") + b" " * (len(text) % 2)
