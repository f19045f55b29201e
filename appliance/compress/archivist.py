"""Brings archived instances into JPEG 2000 Lossless, and exactly back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Final

from appliance.compress.digests import digest_from
from appliance.compress.drive import DRIVE_FAULTS, JobFailedError, Taker, drive_restore, drive_transcode
from appliance.compress.nursery import Nursery
from appliance.compress.patience import Patience
from appliance.compress.takers import Files, Nothing
from appliance.config import Compress
from appliance.errors import DamagedFileError, DiskFullError
from appliance.part10.meta import read_prefix

_RESTORED_MAX: Final = 32 << 30


class Archivist:
    """The pool's way between an archive's two forms. Thread-safe."""

    def __init__(self, nursery: Nursery, limits: Compress) -> None:
        self._nursery, self._limits = nursery, limits
        self._patience = Patience(limits.cpu_seconds, limits.wall_seconds)

    def transcode(self, file: Path, out: Path, until: float) -> bytes | None:
        """See `WorkerPool.transcode`."""
        patience = replace(self._patience, until=until)
        try:
            with file.open("rb") as source, out.open("w+b") as target:
                recipe = self._transcode(source, target, patience)
        except BaseException:
            out.unlink(missing_ok=True)
            raise
        if recipe is None:
            out.unlink(missing_ok=True)
        return recipe

    def restore(self, file: Path, recipe: bytes, out: Path) -> bytes:
        """See `WorkerPool.restore`."""
        taker = Files(out.parent, out.name)
        try:
            with file.open("rb") as source:
                return self._restore(source, recipe, taker, self._patience)
        except DRIVE_FAULTS as error:
            taker.remove_all()
            self._nursery.raise_if_closed()
            raise DamagedFileError(f"An archived instance can't be restored: {error}") from error
        except BaseException:
            taker.remove_all()
            raise

    def _transcode(self, source: BinaryIO, target: BinaryIO, patience: Patience) -> bytes | None:
        """None too when a worker dies on it or the way back gives other bytes."""
        try:
            with self._nursery.lend() as worker:
                recipe = drive_transcode(worker, (source, target), self._limits.memory_bytes, patience)
            if recipe is None:
                return None
            digest = self._restore(target, recipe, Nothing(), patience)
        except DRIVE_FAULTS as error:
            self._nursery.raise_if_closed()
            if isinstance(error, JobFailedError) and error.fault == "disk":
                raise DiskFullError from error
            return None
        source.seek(0)
        _, offset = read_prefix(source)
        return recipe if digest == digest_from(source, offset) else None

    def _restore(self, source: BinaryIO, recipe: bytes, taker: Taker, patience: Patience) -> bytes:
        with self._nursery.lend() as worker:
            return drive_restore(worker, source, recipe, _RESTORED_MAX, patience, taker)
