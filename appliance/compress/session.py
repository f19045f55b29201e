"""A worker's side of one job: it asks for the next instance, and gets it or the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias, TypeVar

import msgspec

from appliance.compress.channel import Ask, Channel, Item, NoMore, pack_value

_Value = TypeVar("_Value")


class PoolGoneError(Exception):
    """The pool closed its end: there is nothing left to do."""


class Session:
    """Given to a job. Not thread-safe."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def ask(self, index: int, facts: object, kind: type[_Value]) -> tuple[_Value, list[int]] | None:
        """The instance of this index with its descriptors, or None when there is no such one. Raises PoolGoneError."""
        self._channel.send(Ask(index=index, facts=pack_value(facts)))
        received = self._channel.receive()
        if received is None:
            raise PoolGoneError
        message, descriptors = received
        if isinstance(message, Item):
            return msgspec.msgpack.decode(message.arguments, type=kind), descriptors
        if isinstance(message, NoMore):
            return None
        raise PoolGoneError


class JobModule(Protocol):
    """A module that workers can be started with."""

    JOBS: dict[str, Job]


Job: TypeAlias = Callable[[Session, msgspec.Raw, list[int]], Any]
