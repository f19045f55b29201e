"""Requests to one bucket, and what each answer means. Names here are whole: the prefix and the key."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from botocore.exceptions import ClientError

from appliance.errors import DamagedFileError, StoreError
from appliance.hub.objects.faults import FAULTS, code_of, fault_of, field, is_missing, is_taken, status_of, translated
from appliance.hub.objects.store import LOST, PIECE_BYTES, ObjectExistsError

SINGLE_MAX: Final = 64 << 20  # bytes that go in one request; what is larger goes in parts
PART_BYTES: Final = 16 << 20  # in memory at once; the most of S3 is 10,000 parts
_PARTS_MAX: Final = 10_000
_LOST_MAX: Final = 3  # answers without a byte, one after the other, before a read is given up


@dataclass(frozen=True)
class _Answer:
    body: Any  # a stream
    total: int  # bytes of the whole object
    etag: str


class Bucket:
    """`client`: of botocore, which may be used in many threads."""

    def __init__(self, client: Any, name: str) -> None:
        self._client, self._bucket = client, name

    def create(self, name: str, file: Path) -> None:
        """An object of the file's bytes. When the very same is there already, that is as good: an answer may have been
        lost. Raises ObjectExistsError when another is there; StoreError, StoreRefusedError, DiskFullError, OSError.
        """
        size = file.stat().st_size
        try:
            if size > SINGLE_MAX:
                self._create_in_parts(name, file, size)
            else:
                with file.open("rb") as body:
                    answer = self._client.put_object(Bucket=self._bucket, Key=name, Body=body, IfNoneMatch="*")
                field(answer, "ETag")  # a 200 alone may be that of a proxy
        except FAULTS as error:
            if not isinstance(error, ClientError) or not (is_taken(error) or code_of(error) == "NoSuchUpload"):
                raise fault_of(error) from error
            self._compare(name, file)

    def create_small(self, name: str, content: bytes) -> bool:
        """False when an object is there already."""
        try:
            field(self._client.put_object(Bucket=self._bucket, Key=name, Body=content, IfNoneMatch="*"), "ETag")
        except FAULTS as error:
            if isinstance(error, ClientError) and is_taken(error):
                return False
            raise fault_of(error) from error
        return True

    def _create_in_parts(self, name: str, file: Path, size: int) -> None:
        """Raises what botocore raises. What was begun and torn before, by a process that died, is taken away first."""
        self.abort(name)
        upload = field(self._client.create_multipart_upload(Bucket=self._bucket, Key=name), "UploadId")
        about = {"Bucket": self._bucket, "Key": name, "UploadId": upload}
        try:
            parts: list[dict[str, Any]] = []
            with file.open("rb") as source:
                while body := source.read(max(PART_BYTES, -(-size // _PARTS_MAX))):
                    number = len(parts) + 1
                    answer = self._client.upload_part(**about, PartNumber=number, Body=body)
                    parts.append({"PartNumber": number, "ETag": field(answer, "ETag")})
            whole = {"MultipartUpload": {"Parts": parts}, "IfNoneMatch": "*"}
            # Servers begin this answer before the work is done, so that a 200 without its end says nothing.
            field(self._client.complete_multipart_upload(**about, **whole), "ETag")
        except BaseException:
            with suppress(*FAULTS):  # it costs room until the next try, no more
                self._client.abort_multipart_upload(**about)
            raise

    def _compare(self, name: str, file: Path) -> None:
        try:
            with file.open("rb") as ours:
                same = all(ours.read(len(piece)) == piece for piece in self.read(name)) and not ours.read(1)
        except DamagedFileError as error:  # a torn upload that the server gave up, or an object deleted at this moment
            raise StoreError("The object store lost an upload; it begins anew") from error
        if not same:
            raise ObjectExistsError(f"{name} is there already, with other bytes")

    def read(self, name: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """As `Store.read`. A line that breaks in the middle goes on at the byte, with the very same object."""
        at, etag, lost = start, "", 0
        while end is None or at < end:
            answer = self._get(name, at, end, etag)
            if answer is None:
                return
            end, etag = min(end or answer.total, answer.total), answer.etag
            try:
                with closing(answer.body) as body:
                    for piece in body.iter_chunks(PIECE_BYTES):
                        at, lost = at + len(piece), 0
                        yield piece
            except FAULTS as error:
                lost += 1
                if lost == _LOST_MAX:
                    raise fault_of(error) from error

    def window(self, name: str, start: int, size: int) -> tuple[bytes, int]:
        """At most `size` bytes from `start`, and how many the whole object has. Raises DamagedFileError, StoreError."""
        with translated():
            answer = self._get(name, start, start + size, "")
            if answer is None:
                return b"", 0
            with closing(answer.body) as body:
                return body.read(), answer.total

    def _get(self, name: str, start: int, end: int | None, etag: str) -> _Answer | None:
        """None when the object has no byte at `start`."""
        span = {"Range": f"bytes={start}-{'' if end is None else end - 1}"}
        same = {"IfMatch": etag} if etag else {}
        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=name, **span, **same)
        except FAULTS as error:
            if isinstance(error, ClientError) and status_of(error) == 416:
                return None
            if isinstance(error, ClientError) and is_missing(error):
                raise DamagedFileError(f"The archive lacks {name}", hint=LOST) from error
            raise fault_of(error) from error
        span_of = answer.get("ContentRange", "").rpartition("/")[2]
        if not span_of.isdigit():
            raise StoreError("The object store does not say what part of an object it gives")
        return _Answer(answer["Body"], int(span_of), field(answer, "ETag"))

    def delete(self, name: str) -> None:
        """One that is not there is passed over."""
        with translated():
            self._client.delete_object(Bucket=self._bucket, Key=name)

    def names(self, prefix: str) -> list[str]:
        """Of all objects that begin so."""
        with translated():
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
            return [one["Key"] for page in pages for one in page.get("Contents", ())]

    def abort(self, prefix: str) -> None:
        """Takes away uploads in parts that were begun under such names and never completed. A server that can't list
        them is left alone: they are no objects.
        """
        try:
            found = self._client.list_multipart_uploads(Bucket=self._bucket, Prefix=prefix)
        except ClientError as error:
            if status_of(error) in {405, 501}:
                return
            raise
        for one in found.get("Uploads", ()):
            if one["Key"].startswith(prefix):
                self._client.abort_multipart_upload(Bucket=self._bucket, Key=one["Key"], UploadId=one["UploadId"])
