"""The forms in which an instance is kept, and how its exact bytes come back from each."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, Final

from appliance.compress.pool import WorkerPool
from appliance.compress.values import RestoredInstance
from appliance.errors import DamagedFileError
from appliance.hub.index.studies import StoredInstance
from appliance.hub.store import Store

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

    def prepare(self, item: RestoredInstance, staging: Path) -> Prepared:
        """Files of the instance for the store, in `staging`. Blocking."""
        with item.file.open("rb") as opened:
            digest, size = digest_of(opened)
        return Prepared(Form.AS_RECEIVED, item.file, digest, size)


class Retriever:
    """Gets instances out of the archive into local files. Blocking. Each raises DamagedFileError."""

    def __init__(self, store: Store, pool: WorkerPool) -> None:
        self._store, self._pool = store, pool

    def exact(self, one: StoredInstance, to: Path) -> None:
        """A Part 10 file whose data set has the bytes that the modality sent."""
        self._fetch(one, to)

    def transcoded(self, one: StoredInstance, to: Path) -> str:
        """A Part 10 file in JPEG 2000 Lossless when the pixels allow it; returns its transfer syntax."""
        self._fetch(one, to)
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
