"""Drives the sandboxed worker that makes a rendition, and does not believe what it says."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final

import msgspec

from appliance.compress.channel import Done, Failed, Job, pack_value
from appliance.compress.drive import JobFailedError
from appliance.compress.faults import WorkerLostError
from appliance.compress.nursery import Nursery
from appliance.compress.patience import Patience
from appliance.compress.process import WorkerProcess
from appliance.config import Compress
from appliance.errors import DicomError, DiskFullError
from appliance.hub.renditions.values import MakeRequest, NotMadeError, Reason
from appliance.part10.meta import read_prefix

JOBS: Final = "appliance.hub.renditions.jobs"
# What a worker may write for each byte that it reads, and beside that: blank images compress well.
_GROWTH: Final = 256
_SLACK: Final = 256 << 20
_DECODED: Final = 4  # times the bytes that it reads are what its time is measured by
_REASONS: Final = {"memory": Reason.TOO_LARGE, "too large": Reason.TOO_LARGE}


class Maker:
    """Thread-safe; each call has a worker of its own. `jobs`: tests give a module that misbehaves."""

    def __init__(self, limits: Compress, *, jobs: str = JOBS) -> None:
        self._workers = Nursery(jobs, limits.memory_bytes)
        self._patience = Patience(limits.cpu_seconds, limits.wall_seconds)

    def close(self) -> None:
        """Ends all workers; calls under way raise PoolClosedError."""
        self._workers.close()

    def raise_if_closed(self) -> None:
        """Raises PoolClosedError when it was."""
        self._workers.raise_if_closed()

    @property
    def peak_bytes(self) -> int:
        """The most memory that any worker which has ended had resident."""
        return self._workers.peak_bytes

    def make(self, file: Path, out: Path, transfer_syntax_uid: str) -> None:
        """Writes the Part 10 file `file` to `out` (not fsynced) in another transfer syntax, compared pixel by pixel.

        Raises NotMadeError, DiskFullError, SandboxError, PoolClosedError, OSError. `out` may be there then.
        """
        try:
            with self._workers.lend() as worker:
                said = self._drive(worker, file, out, transfer_syntax_uid)
        except WorkerLostError as error:
            self._workers.raise_if_closed()
            raise NotMadeError(Reason.BROKE) from error
        except JobFailedError as error:
            self._workers.raise_if_closed()
            if error.fault == "disk":
                raise DiskFullError from error
            grown = error.fault == "file" and error.error_number == errno.EFBIG
            raise NotMadeError(Reason.TOO_LARGE if grown else _REASONS.get(error.fault, Reason.DAMAGED)) from error
        if said:
            raise NotMadeError(_known(said))
        _check(file, out, transfer_syntax_uid)

    def _drive(self, worker: WorkerProcess, file: Path, out: Path, transfer_syntax_uid: str) -> object:
        scratch = out.with_suffix(".inflated")
        with file.open("rb") as source, out.open("x+b") as target, scratch.open("x+b") as inflated:
            scratch.unlink()
            size = os.fstat(source.fileno()).st_size
            deadline = self._patience.grant(worker, _DECODED * size, size * _GROWTH + _SLACK)
            request = pack_value(MakeRequest(transfer_syntax_uid=transfer_syntax_uid))
            worker.send(Job(name="rendition", arguments=request), tuple(f.fileno() for f in (source, inflated, target)))
            message = worker.receive(deadline)
        if isinstance(message, Failed):
            raise JobFailedError(message)
        if not isinstance(message, Done):
            raise WorkerLostError("it spoke out of turn")
        return msgspec.msgpack.decode(message.result)


def _known(said: object) -> Reason:
    try:
        return Reason(str(said))
    except ValueError:
        return Reason.BROKE


def _check(file: Path, out: Path, transfer_syntax_uid: str) -> None:
    """What was made names itself as it was asked to."""
    try:
        with file.open("rb") as source, out.open("rb") as made:
            before, after = read_prefix(source)[0], read_prefix(made)[0]
    except DicomError as error:
        raise NotMadeError(Reason.CHANGED) from error
    if (after.sop_instance_uid, after.transfer_syntax_uid) != (before.sop_instance_uid, transfer_syntax_uid):
        raise NotMadeError(Reason.CHANGED)
