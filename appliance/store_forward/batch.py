"""What one worker is given to pack: instances of one study, as rows of the queue and as files of the spool."""

from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from appliance.compress.faults import is_gone
from appliance.compress.values import ParcelContext, Source


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one study, the same as sources, and where the parcel goes."""

    study_id: int
    context: ParcelContext
    rows: tuple[sqlite3.Row, ...]
    sources: tuple[Source, ...]
    dictionary: bytes | None
    out: Path


def is_plain(row: sqlite3.Row) -> bool:
    """Whether it failed before, so that no codec may touch it."""
    return bool(row["pack_failures"] > 0)


def source_of(spool: Path, row: sqlite3.Row, size: int, *, keep_header: bool) -> Source:
    """`size`: bytes of its file."""
    return Source(
        path=spool / row["file"],
        data_offset=max(0, size - row["bytes"]),  # a Part 10 file ends with its data set
        bytes=row["bytes"],
        digest=row["digest"],
        transfer_syntax_uid=row["transfer_syntax_uid"],
        sop_class_uid=row["sop_class_uid"],
        sop_instance_uid=row["sop_instance_uid"],
        received_at=row["received_at"],
        calling_ae=row["calling_ae"],
        plain=is_plain(row),
        keep_header=keep_header,
    )


def size_of(path: Path) -> int:
    """Bytes of a received file that can be opened; 0 when it is lost, which its packing then finds.

    Raises OSError for what may pass.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        if not is_gone(error):
            raise
        return 0
    try:
        return os.fstat(file).st_size
    finally:
        os.close(file)
