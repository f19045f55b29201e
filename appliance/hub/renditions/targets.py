"""Which forms may be made of which, in the order of a peer's wishes. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from appliance.part10.transfer_syntax import EXPLICIT_LITTLE, IMPLICIT_LITTLE, JPEG_2000_LOSSLESS

TARGETS: Final = frozenset({EXPLICIT_LITTLE, IMPLICIT_LITTLE, JPEG_2000_LOSSLESS})


def to_make(stored: str, received: str, accepted: Sequence[str]) -> list[str]:
    """The transfer syntaxes of `accepted` worth a try, the peer's best first.

    `stored` is that of the object in the archive, `received` that of the modality: what the archive keeps in another
    form can be had as received, whatever that is.
    """
    possible = TARGETS | {received}
    return list(dict.fromkeys(uid for uid in accepted if uid in possible and uid != stored))
