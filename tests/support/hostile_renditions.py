"""The job of renditions, taken over: its pixels say what the worker does. Workers start by the name of this module."""

from __future__ import annotations

import ctypes
import os
import time
from typing import Final

import msgspec

from appliance.compress.session import Job, Session
from appliance.hub.renditions.jobs import JOBS as _REAL_JOBS
from appliance.part10.meta import FileMeta, encode_prefix


def _harm(session: Session, arguments: msgspec.Raw, descriptors: list[int]) -> object:
    source, _, out = descriptors
    size = os.fstat(source).st_size
    words = os.pread(source, size, 0)
    if b"HARM:crash" in words:
        ctypes.string_at(0)
    if b"HARM:hang" in words:
        time.sleep(3600)
    if b"HARM:other" in words:  # another instance than the one asked for
        os.write(out, encode_prefix(FileMeta("1.2", "9.9.9", "1.2.840.10008.1.2")))
        return ""
    if b"HARM:nothing" in words:
        return ""
    if b"HARM:slander" in words:
        return "SECRET^NAME"
    return _REAL_JOBS["rendition"](session, arguments, descriptors)


JOBS: Final[dict[str, Job]] = {"rendition": _harm}
