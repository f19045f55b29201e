"""Where the bytes of restored instances go: nowhere, because they are only compared, or into Part 10 files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from appliance.compress.read import InstanceFacts
from appliance.compress.values import RestoredInstance, Source
from appliance.part10.meta import FileMeta, encode_prefix


class DifferentError(Exception):
    """An instance came out of the finished parcel with other bytes."""


class Comparison:
    """A Taker that compares what comes with what was packed. `index`: the instance that it is at."""

    def __init__(self, packed: Sequence[Source]) -> None:
        self._packed = packed
        self.index = 0

    def begin(self, index: int, facts: InstanceFacts) -> None:
        self.index = index
        if facts.bytes != self._packed[index].bytes:
            raise DifferentError("it did not come back with its length")

    def take(self, data: bytes) -> None:
        pass

    def finish(self, facts: InstanceFacts, digest: bytes) -> None:  # noqa: ARG002 - only the digest counts
        if digest != self._packed[self.index].digest:
            raise DifferentError("it did not come back byte-exact")


class Nothing:
    """A Taker that keeps nothing."""

    def begin(self, index: int, facts: InstanceFacts) -> None:
        pass

    def take(self, data: bytes) -> None:
        pass

    def finish(self, facts: InstanceFacts, digest: bytes) -> None:
        pass


class Files:
    """A Taker that writes Part 10 files into a directory: 00000.dcm, 00001.dcm, …, or one of the given name."""

    def __init__(self, into: Path, name: str = "") -> None:
        self._into, self._name = into, name
        self._paths: list[Path] = []
        self._file: BinaryIO | None = None
        self._offset = 0
        self.restored: list[RestoredInstance] = []

    def begin(self, index: int, facts: InstanceFacts) -> None:
        prefix = encode_prefix(FileMeta(facts.sop_class_uid, facts.sop_instance_uid, facts.transfer_syntax_uid))
        self._offset = len(prefix)
        self._paths.append(self._into / (self._name or f"{index:05d}.dcm"))
        self._file = self._paths[-1].open("xb")
        self._file.write(prefix)

    def take(self, data: bytes) -> None:
        if self._file:
            self._file.write(data)

    def finish(self, facts: InstanceFacts, digest: bytes) -> None:
        self._close()
        self.restored.append(
            RestoredInstance(
                file=self._paths[-1],
                data_offset=self._offset,
                bytes=facts.bytes,
                digest=digest,
                transfer_syntax_uid=facts.transfer_syntax_uid,
                sop_class_uid=facts.sop_class_uid,
                sop_instance_uid=facts.sop_instance_uid,
                received_at=facts.received_at,
                calling_ae=facts.calling_ae,
                header_bytes=facts.header_bytes,
                keep_header=facts.keep_header,
            )
        )

    def remove_all(self) -> None:
        self._close()
        for path in self._paths:
            path.unlink(missing_ok=True)

    def _close(self) -> None:
        if self._file:
            self._file.close()
            self._file = None
