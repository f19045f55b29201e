"""The jobs of workers that transcode for an archive. Apart from `jobs`, because what they import takes long to load."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import Final

import msgspec

from appliance.compress import transcode as transcoding
from appliance.compress.jobs import opened
from appliance.compress.read import Sink
from appliance.compress.session import Job, Session
from appliance.compress.transcode import TranscodeRequest


def transcode(session: Session, arguments: msgspec.Raw, descriptors: list[int]) -> bool:  # noqa: ARG001 - asks nothing
    """Descriptors: a Part 10 file, the transcoded one, and the recipe (both empty). False: it must stay."""
    request = msgspec.msgpack.decode(arguments, type=TranscodeRequest)
    with ExitStack() as stack:
        source, out, recipe = [opened(stack, descriptor) for descriptor in descriptors]
        made = transcoding.transcode(source, out, request.memory_bytes)
        recipe.write(made or b"")
        return made is not None


def restore(session: Session, arguments: msgspec.Raw, descriptors: list[int]) -> None:  # noqa: ARG001 - has none
    """Descriptors: a transcoded Part 10 file, a pipe for the data set, and the recipe."""
    with ExitStack() as stack:
        source, recipe = (opened(stack, descriptor) for descriptor in (descriptors[0], descriptors[2]))
        stack.callback(os.close, descriptors[1])
        transcoding.restore(session, source, recipe.read(), Sink(descriptors[1]))


JOBS: Final[dict[str, Job]] = {"transcode": transcode, "restore": restore}
