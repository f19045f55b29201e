"""The forms in which an instance is kept, and how its exact bytes come back from each."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, Final

from appliance.compress.pool import WorkerPool
from appliance.compress.values import RestoredInstance
from appliance.errors import DamagedFileError
from appliance.hub.index.studies import StoredInstance
from appliance.hub.objects.store import Store
from appliance.part10.transfer_syntax import JPEG_2000_LOSSLESS

_COPY: Final = 1 << 20
DAMAGED: Final = "Run `appliance hub verify`; have the hub's disk checked, and ask the site to send the study again."


class Form(StrEnum):
    AS_RECEIVED = "as-received"  # a Part 10 file with the data set bytes of the modality
    JPEG2000 = "jpeg2000"  # a Part 10 file in JPEG 2000 Lossless, and a recipe that gives those bytes back


@dataclass(frozen=True)
class Prepared:
    """An instance ready for the store: local files, and what the index will say of them."""

    form: Form
    file: Path
    file_digest: bytes
    file_bytes: int
    recipe: Path | None = None


class Archiver:
    """Brings instances into the form that the hub's setting asks for."""

    def __init__(self, setting: str, pool: WorkerPool) -> None:
        self._form = Form(setting)
        self._pool = pool

    def prepare(self, item: RestoredInstance, staging: Path, until: float) -> Prepared:
        """Files of the instance for the store, in `staging`. What can't be JPEG 2000 by `until` (monotonic) stays as
        received. Blocking. Raises DiskFullError, OSError.
        """
        if self._form is Form.JPEG2000 and time.monotonic() < until:
            out = staging / f"{item.file.stem}.j2k"
            recipe = self._pool.transcode(item.file, out, until=until)
            if recipe is not None:
                return _prepared(Form.JPEG2000, out, recipe)
        return _prepared(Form.AS_RECEIVED, item.file)


def _prepared(form: Form, file: Path, recipe: bytes | None = None) -> Prepared:
    with file.open("rb") as opened:
        digest, size = digest_of(opened)
    recipe_file = None
    if recipe is not None:
        recipe_file = file.with_suffix(".recipe")
        recipe_file.write_bytes(recipe)
    return Prepared(form, file, digest, size, recipe_file)


class Retriever:
    """Gets instances out of the archive into local files. Blocking. Raises DamagedFileError, DiskFullError, OSError."""

    def __init__(self, store: Store, pool: WorkerPool) -> None:
        self._store, self._pool = store, pool

    def exact(self, one: StoredInstance, to: Path) -> None:
        """A Part 10 file whose data set has the bytes that the modality sent; proved by their digest."""
        if one.recipe_key is None:
            self._fetch(one, to)
            return
        archived = to.with_suffix(".archived")
        try:
            self._fetch(one, archived)
            with self._store.open(one.recipe_key) as file:
                digest = self._pool.restore(archived, file.read(), to)
        finally:
            archived.unlink(missing_ok=True)
        if digest != one.digest:
            to.unlink(missing_ok=True)
            raise DamagedFileError("An archived instance does not come back as it was", hint=DAMAGED)

    def transcoded(self, one: StoredInstance, to: Path) -> str:
        """A Part 10 file in JPEG 2000 Lossless, or as received when its pixels don't allow that; returns its syntax."""
        if one.form == Form.JPEG2000:
            self._fetch(one, to)
            return JPEG_2000_LOSSLESS
        received = to.with_suffix(".received")
        try:
            self._fetch(one, received)
            if self._pool.transcode(received, to) is not None:
                return JPEG_2000_LOSSLESS
            received.rename(to)
        finally:
            received.unlink(missing_ok=True)
        return one.transfer_syntax_uid

    def _fetch(self, one: StoredInstance, to: Path) -> None:
        """The archived file, compared with what was filed."""
        self._store.fetch(one.stored_key, to)
        with to.open("rb") as file:
            if digest_of(file) != (one.stored_digest, one.stored_bytes):
                raise DamagedFileError("The archive's copy of an instance is damaged", hint=DAMAGED)


def digest_of(stream: BinaryIO) -> tuple[bytes, int]:
    """SHA-256 and length of the rest of the stream."""
    digest, size = hashlib.sha256(), 0
    while piece := stream.read(_COPY):
        digest.update(piece)
        size += len(piece)
    return digest.digest(), size
