"""The worker pool: everything that the rest of the house asks of this room.

Blocking and thread-safe: call it from as many threads as `limits.workers`. Bytes that came from elsewhere are parsed,
packed and unpacked in worker processes alone; whatever happens there costs one job.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final

from appliance.compress.drive import (
    DRIVE_FAULTS,
    JobFailedError,
    PackDrive,
    Patience,
    Taker,
    drive_restore,
    drive_transcode,
    drive_unpack,
)
from appliance.compress.faults import (
    DamagedParcelError,
    DamagedSourceError,
    InstanceMismatchError,
    PackingFailedError,
    ParcelTooLargeError,
    PoolClosedError,
)
from appliance.compress.nursery import Nursery
from appliance.compress.parcel import NO_DICTIONARY, PREAMBLE_BYTES, TRAILER_BYTES, Preamble, read_preamble
from appliance.compress.read import ParcelFacts
from appliance.compress.takers import Comparison, DifferentError, Files, Nothing
from appliance.compress.values import Header, PackedParcel, ParcelContext, RestoredParcel, Source
from appliance.compress.write import PackRequest, PackResult
from appliance.config import Compress
from appliance.errors import DamagedFileError, DiskFullError, ParcelError, UnknownDictionaryError
from appliance.model.priority import Priority
from appliance.part10.meta import read_prefix

JOBS: Final = "appliance.compress.jobs"
ARCHIVE_JOBS: Final = "appliance.compress.archive_jobs"
_COPY: Final = 1 << 20
_RESTORED_MAX: Final = 32 << 30


class WorkerPool:
    """Packs and unpacks in sandboxed processes. Starts none until it is asked something, or to `prepare`.

    `jobs` names the module that workers run; tests give one that misbehaves.
    """

    def __init__(self, limits: Compress, *, jobs: str = JOBS) -> None:
        self._limits = limits
        self._patience = Patience(limits.cpu_seconds, limits.wall_seconds)
        self._workers = Nursery(jobs, limits.memory_bytes)
        self._archivists = Nursery(ARCHIVE_JOBS, limits.memory_bytes)

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def prepare(self) -> None:
        """Begins to start a worker, so that the first job need not wait for it."""
        self._workers.prepare()

    @property
    def peak_bytes(self) -> int:
        """The most memory that any worker which has ended had resident."""
        return max(self._workers.peak_bytes, self._archivists.peak_bytes)

    def close(self) -> None:
        """Ends all workers at once; calls that wait for one raise PoolClosedError."""
        self._workers.close()
        self._archivists.close()

    def pack(
        self, sources: Sequence[Source], context: ParcelContext, dictionary: bytes | None, out: Path
    ) -> PackedParcel:
        """Packs the first sources, as many as make a parcel, into `out`, and returns what is in it.

        The finished file was unpacked again and every instance compared with its recorded digest; then it was made
        durable. `out` with the suffix `.part` is used on the way. `dictionary`: a header that the hub acknowledged.
        Raises PackingFailedError or DamagedSourceError, each with the guilty source's index; DiskFullError or OSError
        when `out` can't be written. No file remains then.
        """
        part = out.with_suffix(".part")
        try:
            with part.open("w+b") as file:
                result = self._write(sources, context, dictionary, file)
                packed = sources[: result.instances]
                digest, kept = self._verify(packed, context, dictionary, file)
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
        )

    def unpack(
        self,
        parcel: Path,
        dictionaries: Callable[[bytes], bytes | None],
        into: Path,
        *,
        restored_bytes_max: int = _RESTORED_MAX,
    ) -> RestoredParcel:
        """Restores every instance of a parcel into the existing directory `into`, as Part 10 files (not fsynced).

        `dictionaries` gives the header with this SHA-256, or None. A parcel that claims more than
        `restored_bytes_max` bytes is refused before anything is inflated. Raises ParcelError;
        `faults.refusal_of` has the word for the unit. After an error no file remains in `into`.
        """
        with parcel.open("rb") as file:
            digest, sealed = _digests(file)
            if not sealed:
                raise DamagedParcelError
            preamble = _preamble(file)
            taker = Files(into)
            try:
                facts = self._unpack(file, _resolved(preamble, dictionaries), restored_bytes_max, taker)
                priority = _priority(facts.priority)
            except BaseException:
                taker.remove_all()
                raise
        return RestoredParcel(
            digest=digest,
            study_instance_uid=facts.study,
            site=facts.site,
            priority=priority,
            instances=tuple(taker.restored),
        )

    def transcode(self, file: Path, out: Path) -> bytes | None:
        """Writes the Part 10 file `file` to `out` in JPEG 2000 Lossless (1.2.840.10008.1.2.4.90), not fsynced.

        Returns the recipe that `restore` needs to get the received bytes back, which was tried and compared; None
        when the file must stay as received, and then there is no `out`. Raises DiskFullError, OSError.
        """
        try:
            with file.open("rb") as source, out.open("w+b") as target:
                recipe = self._transcode(source, target)
        except BaseException:
            out.unlink(missing_ok=True)
            raise
        if recipe is None:
            out.unlink(missing_ok=True)
        return recipe

    def restore(self, file: Path, recipe: bytes, out: Path) -> bytes:
        """Writes the Part 10 file with the data set as received to `out` (not fsynced); returns the data set's SHA-256.

        `file` was made by `transcode`, with this recipe. Raises DamagedFileError.
        """
        taker = Files(out.parent, out.name)
        try:
            with file.open("rb") as source:
                return self._restore(source, recipe, taker)
        except DRIVE_FAULTS as error:
            taker.remove_all()
            self._raise_if_closed()
            raise DamagedFileError(f"An archived instance can't be restored: {error}") from error
        except BaseException:
            taker.remove_all()
            raise

    def _transcode(self, source: BinaryIO, target: BinaryIO) -> bytes | None:
        """None too when a worker dies on it or the way back gives other bytes."""
        try:
            with self._archivists.lend() as worker:
                recipe = drive_transcode(worker, (source, target), self._limits.memory_bytes, self._patience)
            if recipe is None:
                return None
            digest = self._restore(source=target, recipe=recipe, taker=Nothing())
        except DRIVE_FAULTS as error:
            self._raise_if_closed()
            if isinstance(error, JobFailedError) and error.fault == "disk":
                raise DiskFullError from error
            return None
        source.seek(0)
        _, offset = read_prefix(source)
        return recipe if digest == _digest_from(source, offset) else None

    def _restore(self, source: BinaryIO, recipe: bytes, taker: Taker) -> bytes:
        with self._archivists.lend() as worker:
            return drive_restore(worker, source, recipe, _RESTORED_MAX, self._patience, taker)

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
                self._workers.lend() as worker,
            ):
                drive = PackDrive(worker, sources, self._patience)
                return drive.run(request, (out, scratch), dictionary)
        except DRIVE_FAULTS as error:
            self._raise_if_closed()
            if isinstance(error, JobFailedError) and error.fault == "disk":
                raise DiskFullError from error
            index = drive.index if drive else 0
            _raise_if_damaged(sources[index], index)
            raise PackingFailedError(index, str(error)) from error

    def _verify(
        self, packed: Sequence[Source], context: ParcelContext, dictionary: bytes | None, file: BinaryIO
    ) -> tuple[bytes, dict[int, int]]:
        """Unpacks the finished file in another job and compares all of it with what was recorded at receive.

        Returns its SHA-256, and the lengths of the headers to keep by index.
        """
        taker = Comparison(packed)
        try:
            digest = _checked_frame(file, dictionary)
            with self._workers.lend() as worker:
                facts, digests = drive_unpack(
                    worker, file, dictionary, sum(s.bytes for s in packed), self._patience, taker
                )
            _check_facts(facts, digests, context)
        except (*DRIVE_FAULTS, DifferentError, ParcelError) as error:
            self._raise_if_closed()
            _raise_if_damaged(packed[taker.index], taker.index)
            raise PackingFailedError(taker.index, str(error)) from error
        return digest, taker.kept

    def _unpack(self, file: BinaryIO, dictionary: bytes | None, restored_bytes_max: int, taker: Files) -> ParcelFacts:
        with _as_parcel_faults(self._workers), self._workers.lend() as worker:
            facts, digests = drive_unpack(worker, file, dictionary, restored_bytes_max, self._patience, taker)
        if digests != facts.digests:
            raise InstanceMismatchError
        return facts

    def _raise_if_closed(self) -> None:
        if self._workers.closed:
            raise PoolClosedError


_PARCEL_FAULTS: Final = {"format": ParcelError, "too large": ParcelTooLargeError}


@contextmanager
def _as_parcel_faults(workers: Nursery) -> Iterator[None]:
    """A worker that is lost or gives up says something about the parcel that it was given."""
    try:
        yield
    except DRIVE_FAULTS as error:
        if workers.closed:
            raise PoolClosedError from None
        if isinstance(error, JobFailedError) and error.fault in _PARCEL_FAULTS:
            raise _PARCEL_FAULTS[error.fault](str(error)) from error
        raise InstanceMismatchError(f"An instance can't be restored from its parcel: {error}") from error


def _digests(file: BinaryIO) -> tuple[bytes, bool]:
    """SHA-256 of the whole file, and whether its trailer is that of all before it."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    whole = hashlib.sha256()
    left = max(0, size - TRAILER_BYTES)
    while left and (piece := file.read(min(left, _COPY))):
        whole.update(piece)
        left -= len(piece)
    before = whole.digest()
    trailer = file.read(TRAILER_BYTES)
    whole.update(trailer)
    return whole.digest(), trailer == before


def _checked_frame(file: BinaryIO, dictionary: bytes | None) -> bytes:
    """The SHA-256 of a parcel just written, if its preamble and trailer are right. Raises ParcelError."""
    digest, sealed = _digests(file)
    named = hashlib.sha256(dictionary).digest() if dictionary else NO_DICTIONARY
    if not sealed or _preamble(file).dictionary != named:
        raise ParcelError("The parcel was not written right")
    return digest


def _check_facts(facts: ParcelFacts, digests: bytes, context: ParcelContext) -> None:
    told = (facts.study, facts.site, facts.priority, facts.digests)
    if told != (context.study_instance_uid, context.site, context.priority.word, digests):
        raise ParcelError("The parcel was not written right")


def _preamble(file: BinaryIO) -> Preamble:
    return read_preamble(os.pread(file.fileno(), PREAMBLE_BYTES, 0), os.fstat(file.fileno()).st_size)


def _resolved(preamble: Preamble, dictionaries: Callable[[bytes], bytes | None]) -> bytes | None:
    if preamble.dictionary == NO_DICTIONARY:
        return None
    dictionary = dictionaries(preamble.dictionary)
    if dictionary is None or hashlib.sha256(dictionary).digest() != preamble.dictionary:
        raise UnknownDictionaryError
    return dictionary


def _priority(word: str) -> Priority:
    try:
        return Priority.from_word(word)
    except KeyError:
        raise ParcelError("The parcel names a priority that there is not") from None


def _header(source: Source, index: int, length: int) -> Header:
    with source.path.open("rb") as file:
        header = os.pread(file.fileno(), length, source.data_offset)
    return Header(index=index, header=header, digest=hashlib.sha256(header).digest())


def _raise_if_damaged(source: Source, index: int) -> None:
    """Raises DamagedSourceError when the file no longer has the recorded digest."""
    digest = b""
    with suppress(OSError), source.path.open("rb") as file:
        digest = _digest_from(file, source.data_offset)
    if digest != source.digest:
        raise DamagedSourceError(index)


def _digest_from(file: BinaryIO, offset: int) -> bytes:
    """SHA-256 of what comes after the first `offset` bytes."""
    file.seek(offset)
    digest = hashlib.sha256()
    while piece := file.read(_COPY):
        digest.update(piece)
    return digest.digest()


def _sync_directory(path: Path) -> None:
    with ExitStack() as stack:
        directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        stack.callback(os.close, directory)
        os.fsync(directory)
