"""How a data set is encoded, told from its transfer syntax (PS3.5 ch. 10 and annex A)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

IMPLICIT_LITTLE: Final = "1.2.840.10008.1.2"
EXPLICIT_LITTLE: Final = "1.2.840.10008.1.2.1"
DEFLATED_LITTLE: Final = "1.2.840.10008.1.2.1.99"
EXPLICIT_BIG: Final = "1.2.840.10008.1.2.2"
JPEG_2000_LOSSLESS: Final = "1.2.840.10008.1.2.4.90"

# The value field of these is the whole data set deflated (PS3.5 A.5), not elements.
DEFLATED: Final = frozenset({DEFLATED_LITTLE, "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"})
NATIVE: Final = frozenset({IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG})


@dataclass(frozen=True)
class Encoding:
    """`explicit`: elements name their VR. `big`: big endian. `deflated`: inflate it first (RFC 1951, no header)."""

    explicit: bool
    big: bool = False
    deflated: bool = False

    @property
    def byte_order(self) -> str:
        """The struct module's sign for it."""
        return ">" if self.big else "<"


IMPLICIT: Final = Encoding(explicit=False)
EXPLICIT: Final = Encoding(explicit=True)


def encoding_of(transfer_syntax_uid: str) -> Encoding:
    """The encoding of a transfer syntax; private and unknown ones are explicit little endian, as PS3.5 A.4 has it."""
    if transfer_syntax_uid == IMPLICIT_LITTLE:
        return IMPLICIT
    return Encoding(explicit=True, big=transfer_syntax_uid == EXPLICIT_BIG, deflated=transfer_syntax_uid in DEFLATED)
