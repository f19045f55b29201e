"""Writes a study out of the archive as DICOM files, under names of our own."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

import msgspec

from appliance.errors import UsageError
from appliance.hub.archive import Retriever
from appliance.hub.durable import sync_directory, sync_file
from appliance.hub.index.studies import StoredInstance


class As(StrEnum):
    EXACT = "exact"  # the data set bytes as the modality sent them
    TRANSCODED = "transcoded"  # JPEG 2000 Lossless where the pixels allow it


class ExportedFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file of an export, as `--json` prints it. `digest`: SHA-256 of the data set as the modality sent it."""

    file: str
    sop_instance_uid: str
    digest: str
    bytes: int
    transfer_syntax_uid: str
    conflict: bool


def check_target(directory: Path) -> None:
    """Makes the directory. Raises UsageError unless it is empty: an export never overwrites."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise UsageError(f"{directory} is not empty", hint="Name a directory that is empty or not there yet.")
    except OSError as error:
        raise UsageError(f"{directory} can't be used: {error.strerror}") from error


def export_study(
    series: list[list[StoredInstance]],
    directory: Path,
    how: As,
    retriever: Retriever,
    progress: Callable[[int], None],
) -> list[ExportedFile]:
    """Writes `series-001/0001.dcm` and so on; all is durable when it returns. `progress` is told of each file.

    Raises DamagedFileError when the archive no longer has what it should; what was written until then stays.
    """
    written = []
    for number, instances in enumerate(series, 1):
        folder = directory / f"series-{number:03d}"
        folder.mkdir()
        for position, one in enumerate(instances, 1):
            path = folder / f"{position:04d}.dcm"
            written.append(_export(one, path, how, retriever, directory))
            progress(1)
        sync_directory(folder)
    sync_directory(directory)
    return written


def _export(one: StoredInstance, path: Path, how: As, retriever: Retriever, directory: Path) -> ExportedFile:
    if how is As.EXACT:
        retriever.exact(one, path)
        syntax = one.transfer_syntax_uid
    else:
        syntax = retriever.transcoded(one, path)
    sync_file(path)
    return ExportedFile(
        file=str(path.relative_to(directory)),
        sop_instance_uid=one.sop_instance_uid,
        digest=one.digest.hex(),
        bytes=path.stat().st_size,
        transfer_syntax_uid=syntax,
        conflict=one.conflict,
    )
