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
    """A Taker that compares what comes with what was packed.

    `index` is the instance that it is at, the last one before the first came: what is wrong with the parcel itself
    happened when that was packed. `kept` has the header lengths, by index, of those that the hub is asked to keep.
    """

    def __init__(self, packed: Sequence[Source]) -> None:
        self._packed = packed
        self.index = len(packed) - 1
        self.kept: dict[int, int] = {}

    def begin(self, index: int, facts: InstanceFacts) -> None:
        source = self._packed[index]
        self.index = index
        told = (facts.sop_instance_uid, facts.sop_class_uid, facts.transfer_syntax_uid, facts.calling_ae)
        right = (source.sop_instance_uid, source.sop_class_uid, source.transfer_syntax_uid, source.calling_ae)
        if (*told, facts.received_at, facts.bytes) != (*right, source.received_at, source.bytes):
            raise DifferentError("it did not come back with its name and length")
        if facts.keep_header > source.keep_header:
            raise DifferentError("it came back as a dictionary")

    def take(self, data: bytes) -> None:
        pass

    def finish(self, facts: InstanceFacts, digest: bytes) -> None:
        if digest != self._packed[self.index].digest:
            raise DifferentError("it did not come back byte-exact")
        if facts.keep_header:
            self.kept[self.index] = facts.header_bytes


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
