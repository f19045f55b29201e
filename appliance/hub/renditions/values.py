"""What the parts of this room say to each other: reasons, and what a worker is asked."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from appliance.errors import RenditionError

# Raised when what is made, or what can be made, changes: failures of an older version are then tried again.
MAKER: Final = 1


class Reason(StrEnum):
    """Why an instance can't be given in another form. Content alone: a full disk or a stopped hub is none."""

    NO_SYNTAX = "no-syntax"
    NO_DECODER = "no-decoder"
    NO_IMAGE = "no-image"
    UNSUPPORTED = "unsupported"
    BITS = "bits"
    DAMAGED = "damaged"
    TOO_LARGE = "too-large"
    BROKE = "broke"
    CHANGED = "changed"


_WORDS: Final = {
    Reason.NO_SYNTAX: "the peer takes no transfer syntax that can be made of it",
    Reason.NO_DECODER: "there is no decoder for its transfer syntax",
    Reason.NO_IMAGE: "it has no pixels that could be compressed",
    Reason.UNSUPPORTED: "its pixels are of a kind that is not transcoded",
    Reason.BITS: "its samples use bits beyond those that it says are stored",
    Reason.DAMAGED: "it breaks the rules of its own transfer syntax",
    Reason.TOO_LARGE: "it is larger than a worker may hold",
    Reason.BROKE: "it stopped the worker that decoded it",
    Reason.CHANGED: "its pixels did not come back as they were",
}


class NotMadeError(RenditionError):
    """This one instance can't be given so; `reason` says why, in a word."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(f"An instance can't be given in another transfer syntax: {_WORDS[reason]}")
        self.reason = reason


class MakeRequest(msgspec.Struct, frozen=True, kw_only=True):
    """To the worker: the transfer syntax that is wanted."""

    transfer_syntax_uid: str
