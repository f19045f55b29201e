"""The job of the workers of this room. What it imports is loaded before the walls are up: after, there are no files."""

from __future__ import annotations

import warnings
from contextlib import ExitStack
from typing import Final

import msgspec
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import AllTransferSyntaxes

from appliance.compress.jobs import opened
from appliance.compress.session import Job, Session
from appliance.hub.renditions.making import make
from appliance.hub.renditions.values import MakeRequest, NotMadeError

warnings.simplefilter("ignore")  # pydicom's may quote a data set, and to print one reads source files


def _load_decoders() -> None:
    for uid in AllTransferSyntaxes:
        try:
            decoder = get_decoder(uid)
        except NotImplementedError:
            continue
        decoder.is_available  # noqa: B018 - imports what it needs


_load_decoders()


def rendition(session: Session, arguments: msgspec.Raw, descriptors: list[int]) -> str:  # noqa: ARG001 - asks nothing
    """Descriptors: a Part 10 file, a scratch file and the new one (both empty). Empty, or a `Reason`."""
    request = msgspec.msgpack.decode(arguments, type=MakeRequest)
    with ExitStack() as stack:
        source, scratch, out = [opened(stack, descriptor) for descriptor in descriptors]
        try:
            make(source, scratch, out, request.transfer_syntax_uid)
        except NotMadeError as error:
            return error.reason.value
    return ""


JOBS: Final[dict[str, Job]] = {"rendition": rendition}
