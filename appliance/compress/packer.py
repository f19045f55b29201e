"""Packs instances into a parcel in one worker, and verifies it in another."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from appliance.compress.digests import digest_from, parcel_digests
from appliance.compress.drive import DRIVE_FAULTS, JobFailedError, PackDrive, drive_unpack
from appliance.compress.faults import DamagedSourceError, PackingFailedError, UnreadableSourceError, source_error
from appliance.compress.nursery import Nursery
from appliance.compress.parcel import NO_DICTIONARY, preamble_of
from appliance.compress.patience import Patience
from appliance.compress.read import ParcelFacts
from appliance.compress.takers import Comparison, DifferentError
from appliance.compress.values import Header, PackedParcel, ParcelContext, Source
from appliance.compress.write import PackRequest, PackResult
from appliance.config import Compress
from appliance.errors import ApplianceError, DiskFullError, ParcelError


class Packer:
    """The pool's way to a finished parcel. Thread-safe."""

    def __init__(self, nursery: Nursery, limits: Compress) -> None:
        self._nursery, self._limits = nursery, limits
        self._patience = Patience(limits.cpu_seconds, limits.wall_seconds)

    def pack(
        self, sources: Sequence[Source], context: ParcelContext, dictionary: bytes | None, out: Path
    ) -> PackedParcel:
        """See `WorkerPool.pack`."""
        part = out.with_suffix(".part")
        try:
            with part.open("w+b") as file:
                result = self._write(sources, context, dictionary, file)
                packed = sources[: result.instances]
                digest, kept = self._verify(packed, context, dictionary, file)
                preview_bytes = preamble_of(file).preview_bytes
                size = file.seek(0, os.SEEK_END)
                os.fsync(file.fileno())
            part.rename(out)
            _sync_directory(out.parent)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        return PackedParcel(
            digest=digest,
            bytes=size,
            instances=result.instances,
            data_bytes=sum(source.bytes for source in packed),
            headers=tuple(_header(sources[i], i, length) for i, length in sorted(kept.items())),
            codecs=result.codecs,
            preview_bytes=preview_bytes,
        )

    def _write(
        self, sources: Sequence[Source], context: ParcelContext, dictionary: bytes | None, out: BinaryIO
    ) -> PackResult:
        request = PackRequest(
            study=context.study_instance_uid,
            site=context.site,
            priority=context.priority.word,
            parcel_bytes=self._limits.parcel_bytes,
            parcel_instances=self._limits.parcel_instances,
            memory_bytes=self._limits.memory_bytes,
        )
        drive = None
        try:
            with (
                tempfile.TemporaryFile(dir=Path(out.name).parent) as scratch,
                self._nursery.lend() as worker,
            ):
                drive = PackDrive(worker, sources, self._patience)
                return drive.run(request, (out, scratch), dictionary)
        except DRIVE_FAULTS as error:
            self._nursery.raise_if_closed()
            if isinstance(error, JobFailedError) and error.fault == "disk":
                raise DiskFullError from error
            index = drive.index if drive else 0
            raise _fault_of(sources[index], index, error) from error

    def _verify(
        self, packed: Sequence[Source], context: ParcelContext, dictionary: bytes | None, file: BinaryIO
    ) -> tuple[bytes, dict[int, int]]:
        """Unpacks the finished file in another job and compares all of it with what was recorded at receive.

        Returns its SHA-256, and the lengths of the headers to keep by index.
        """
        taker = Comparison(packed)
        try:
            digest = _checked_frame(file, dictionary)
            with self._nursery.lend() as worker:
                facts, digests = drive_unpack(
                    worker, file, dictionary, sum(s.bytes for s in packed), self._patience, taker
                )
            _check_facts(facts, digests, context)
        except (*DRIVE_FAULTS, DifferentError, ParcelError) as error:
            self._nursery.raise_if_closed()
            raise _fault_of(packed[taker.index], taker.index, error) from error
        return digest, taker.kept


def _checked_frame(file: BinaryIO, dictionary: bytes | None) -> bytes:
    """The SHA-256 of a parcel just written, if its preamble and trailer are right. Raises ParcelError."""
    digest, sealed = parcel_digests(file)
    named = hashlib.sha256(dictionary).digest() if dictionary else NO_DICTIONARY
    if not sealed or preamble_of(file).dictionary != named:
        raise ParcelError("The parcel was not written right")
    return digest


def _check_facts(facts: ParcelFacts, digests: bytes, context: ParcelContext) -> None:
    told = (facts.study, facts.site, facts.priority, facts.digests)
    if told != (context.study_instance_uid, context.site, context.priority.word, digests):
        raise ParcelError("The parcel was not written right")


def _header(source: Source, index: int, length: int) -> Header:
    with _reading(source, index) as file:
        header = os.pread(file.fileno(), length, source.data_offset)
    return Header(index=index, header=header, digest=hashlib.sha256(header).digest())


def _fault_of(source: Source, index: int, error: Exception) -> ApplianceError:
    """What `error` of a job means for the source that it was at; first its file is looked at.

    Raises DamagedSourceError, UnreadableSourceError.
    """
    with _reading(source, index) as file:
        digest = digest_from(file, source.data_offset)
    if digest != source.digest:
        return DamagedSourceError(index)
    # It was a file that a moment ago could not be read or written. That is believed of a worker in which no codec ran:
    # another may have been taken over, and would keep its instance here for ever.
    if isinstance(error, JobFailedError) and error.fault == "file" and source.plain:
        return UnreadableSourceError(index, error.error_number)
    return PackingFailedError(index, str(error))


@contextmanager
def _reading(source: Source, index: int) -> Iterator[BinaryIO]:
    """Its file. Raises DamagedSourceError when it is gone, UnreadableSourceError when it can't be read now."""
    try:
        with source.path.open("rb") as file:
            yield file
    except OSError as error:
        raise source_error(index, error) from error


def _sync_directory(path: Path) -> None:
    with ExitStack() as stack:
        directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        stack.callback(os.close, directory)
        os.fsync(directory)
