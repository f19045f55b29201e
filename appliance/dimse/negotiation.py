"""Which presentation contexts the acceptor takes, and in which encoding (PS3.8 9.3.3.2, PS3.4 B.3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pydicom.uid import UID, AllTransferSyntaxes

from appliance.dimse.pdu import ContextResult, ProposedContext
from appliance.part10.identity import valid_uid
from appliance.part10.transfer_syntax import DEFLATED, DEFLATED_LITTLE

VERIFICATION: Final = "1.2.840.10008.1.1"
STORAGE_COMMITMENT: Final = "1.2.840.10008.1.20.1"
PERFORMED_STEP: Final = "1.2.840.10008.3.1.2.3.3"
_ACCEPTED, _ABSTRACT_REFUSED, _TRANSFER_REFUSED = 0, 3, 4
_JPIP_REFERENCED: Final = "1.2.840.10008.1.2.4.204"  # its pixels are behind a URL: the object alone is not the image

# Named "… Storage" and yet not objects of a patient's study: commitment, the DICOMDIR, and PS3.4 annex GG.
_NOT_OF_A_STUDY: Final = frozenset(
    {
        "1.2.840.10008.1.20.1",
        "1.2.840.10008.1.20.2",
        "1.2.840.10008.1.3.10",
        "1.2.840.10008.5.1.4.1.1.200.1",
        "1.2.840.10008.5.1.4.1.1.200.3",
        "1.2.840.10008.5.1.4.1.1.200.7",
        "1.2.840.10008.5.1.4.1.1.201.1",
        "1.2.840.10008.5.1.4.38.1",
        "1.2.840.10008.5.1.4.39.1",
        "1.2.840.10008.5.1.4.43.1",
        "1.2.840.10008.5.1.4.44.1",
        "1.2.840.10008.5.1.4.45.1",
    }
)

_BESIDES: Final = frozenset({VERIFICATION, STORAGE_COMMITMENT, PERFORMED_STEP})

TRANSFER_SYNTAXES: Final = frozenset(str(uid) for uid in AllTransferSyntaxes) - DEFLATED - {_JPIP_REFERENCED}


def is_storage(abstract_syntax: str) -> bool:
    """Whether this may be the class of an object to store: every storage SOP class, and every UID nobody knows.

    Only a UID that the standard gives to something else is none: a private or a future class must not be lost.
    """
    if not valid_uid(abstract_syntax) or abstract_syntax in _NOT_OF_A_STUDY:
        return False
    uid = UID(abstract_syntax)
    return not uid.type or (uid.type == "SOP Class" and "Storage" in uid.name)


@dataclass(frozen=True, slots=True)
class Offer:
    """What an acceptor takes: `takes` judges an abstract syntax."""

    takes: Callable[[str], bool]
    transfer_syntaxes: frozenset[str] = TRANSFER_SYNTAXES


def storage_offer(*, deflated: bool = False) -> Offer:
    """What a modality needs: storage, its commitment, performed procedure steps, verification.

    With `deflated`, Deflated Explicit VR Little Endian too.
    """
    syntaxes = TRANSFER_SYNTAXES | {DEFLATED_LITTLE} if deflated else TRANSFER_SYNTAXES
    return Offer(lambda uid: uid in _BESIDES or is_storage(uid), syntaxes)


@dataclass(frozen=True, slots=True)
class Context:
    """An accepted presentation context."""

    id: int
    abstract_syntax: str
    transfer_syntax: str


def negotiate(proposed: tuple[ProposedContext, ...], offer: Offer) -> tuple[ContextResult, ...]:
    """The result for each proposed context. The first acceptable transfer syntax wins: the sender lists its best."""
    return tuple(_judge(context, offer) for context in proposed)


def _judge(context: ProposedContext, offer: Offer) -> ContextResult:
    # PS3.8 9.3.3.2: in a refused context the transfer syntax is not significant; implicit VR is what others put there.
    first = next((uid for uid in context.transfer_syntaxes if uid in offer.transfer_syntaxes), None)
    if not offer.takes(context.abstract_syntax):
        return ContextResult(context.id, _ABSTRACT_REFUSED, "1.2.840.10008.1.2")
    if first is None:
        return ContextResult(context.id, _TRANSFER_REFUSED, "1.2.840.10008.1.2")
    return ContextResult(context.id, _ACCEPTED, first)


def accepted(proposed: tuple[ProposedContext, ...], results: tuple[ContextResult, ...]) -> dict[int, Context]:
    """The contexts that may be used from now on, by number."""
    syntaxes = {result.id: result.transfer_syntax for result in results if result.result == _ACCEPTED}
    return {
        context.id: Context(context.id, context.abstract_syntax, syntaxes[context.id])
        for context in proposed
        if context.id in syntaxes
    }
