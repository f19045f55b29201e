"""Storage commitment (PS3.4 annex J), pure: when an instance is safe, why it is not, and when to tell again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final

from appliance.model.states import InstanceState

_FIRST_PAUSE_MS: Final = 5_000
_LONGEST_PAUSE_MS: Final = 600_000
_FIRST_LOOK_MS: Final = 1_000
_LONGEST_LOOK_MS: Final = 60_000


class Level(StrEnum):
    """Where an instance must be to be called safe."""

    BOX = "box"  # durable on this unit
    HUB = "hub"  # the hub gave a receipt with our digest


class Failure(IntEnum):
    """Why no commitment is given: Failure Reason (0008,1197), PS3.3 C.14.1.1."""

    NONE = 0
    PROCESSING = 0x0110  # it came, and is damaged here: send it again
    NO_SUCH_OBJECT = 0x0112
    CLASS_INSTANCE_CONFLICT = 0x0119
    DUPLICATE_TRANSACTION = 0x0131


@dataclass(frozen=True, slots=True)
class Copy:
    """One version that this unit holds under a SOP Instance UID."""

    sop_class_uid: str
    state: InstanceState
    damaged: bool = False  # its bytes here are not what came


def judge(level: Level, sop_class_uid: str, copies: Sequence[Copy]) -> Failure | None:
    """Of one instance: `NONE` when it is safe, another reason when it is not, None while that is not known.

    Of two versions under one UID nobody knows which is meant: both must be safe.
    """
    if not copies:
        return Failure.NO_SUCH_OBJECT
    if any(copy.sop_class_uid != sop_class_uid for copy in copies):
        return Failure.CLASS_INSTANCE_CONFLICT
    if any(copy.damaged for copy in copies):
        return Failure.PROCESSING
    if level is Level.BOX or all(copy.state in _AT_HUB for copy in copies):
        return Failure.NONE
    return None


_AT_HUB: Final = frozenset({InstanceState.DELIVERED, InstanceState.REMOVED})


def pause_ms(tries: int) -> int:
    """How long after so many tries that failed the next one is. It never ends: ten minutes at most between two."""
    return int(min(_LONGEST_PAUSE_MS, _FIRST_PAUSE_MS << min(tries, 20)))


def look_pause_ms(age_ms: int) -> int:
    """How long until a request that is so old, and waits for receipts, is looked at again."""
    return min(_LONGEST_LOOK_MS, max(_FIRST_LOOK_MS, age_ms // 8))
