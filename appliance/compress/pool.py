"""The worker pool: everything that the rest of the house asks of this room.

Blocking and thread-safe: call it from as many threads as `limits.workers`. Bytes that came from elsewhere are parsed,
packed and unpacked in worker processes alone; whatever happens there costs one job.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final

from appliance.compress.archivist import Archivist
from appliance.compress.nursery import Nursery
from appliance.compress.packer import Packer
from appliance.compress.unpacker import Unpacker
from appliance.compress.values import PackedParcel, ParcelContext, PartPreviews, RestoredParcel, Source
from appliance.config import Compress

JOBS: Final = "appliance.compress.jobs"
ARCHIVE_JOBS: Final = "appliance.compress.archive_jobs"
_RESTORED_MAX: Final = 32 << 30


class WorkerPool:
    """Packs and unpacks in sandboxed processes. Starts none until it is asked something, or to `prepare`.

    `jobs` names the module that workers run; tests give one that misbehaves.
    """

    def __init__(self, limits: Compress, *, jobs: str = JOBS) -> None:
        self._workers = Nursery(jobs, limits.memory_bytes)
        self._archive_workers = Nursery(ARCHIVE_JOBS, limits.memory_bytes)
        self._packer = Packer(self._workers, limits)
        self._unpacker = Unpacker(self._workers, limits)
        self._archivist = Archivist(self._archive_workers, limits)

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
        return max(self._workers.peak_bytes, self._archive_workers.peak_bytes)

    def close(self) -> None:
        """Ends all workers at once; calls that wait for one raise PoolClosedError."""
        self._workers.close()
        self._archive_workers.close()

    def pack(
        self, sources: Sequence[Source], context: ParcelContext, dictionary: bytes | None, out: Path
    ) -> PackedParcel:
        """Packs the first sources, as many as make a parcel, into `out`, and returns what is in it.

        The finished file was unpacked again and every instance compared with its recorded digest; then it was made
        durable. `out` with the suffix `.part` is used on the way. `dictionary`: a header that the hub acknowledged.
        Raises PackingFailedError, DamagedSourceError or UnreadableSourceError, each with the guilty source's index;
        DiskFullError or OSError when `out` can't be written. No file remains then.
        """
        return self._packer.pack(sources, context, dictionary, out)

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
        `restored_bytes_max` bytes is refused before anything is inflated; one that takes longer than
        `patience.parcel_seconds`, when that time is over. Raises ParcelError; `faults.refusal_of` has the word for the
        unit. After an error no file remains in `into`.
        """
        return self._unpacker.unpack(parcel, dictionaries, into, restored_bytes_max=restored_bytes_max)

    def previews(
        self, part: Path, dictionaries: Callable[[bytes], bytes | None], *, length: int, have: int, after: int = 0
    ) -> PartPreviews:
        """Draws the previews that the first `have` bytes of a parcel of `length` bytes hold, from block `after` on.

        `part` has these bytes at least. At most 64 at once: when the answer is not `complete`, ask again from its
        `after` on, at once if there were as many, else when more bytes came. Raises ParcelError: whatever is wrong
        with the parcel is for `unpack` to refuse, when all of it is there.
        """
        return self._unpacker.previews(part, length, have, after, dictionaries)

    def transcode(self, file: Path, out: Path, *, until: float = math.inf) -> bytes | None:
        """Writes the Part 10 file `file` to `out` in JPEG 2000 Lossless (1.2.840.10008.1.2.4.90), not fsynced.

        Returns the recipe that `restore` needs to get the received bytes back, which was tried and compared; None
        when the file must stay as received, and then there is no `out`: so it is too when that is not done by `until`
        (monotonic). Raises DiskFullError, OSError.
        """
        return self._archivist.transcode(file, out, until)

    def restore(self, file: Path, recipe: bytes, out: Path) -> bytes:
        """Writes the Part 10 file with the data set as received to `out` (not fsynced); returns the data set's SHA-256.

        `file` was made by `transcode`, with this recipe. Raises DamagedFileError.
        """
        return self._archivist.restore(file, recipe, out)
