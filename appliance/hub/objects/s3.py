"""Objects in a bucket of an S3 server.

An object is durable when the server answered 200 and an ETag to all of it: a PUT, or the end of a multipart upload.
What came before is no object to anybody. Every creation says `If-None-Match: *`, and a server that does not heed that
is not used. The body is signed, so that the server takes no other bytes than were sent.

What can't be reached is tried again for some seconds, then said: who checks a parcel tries again for ever, and what it
put is found when it does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, BinaryIO, Final

from appliance.errors import StoreRefusedError
from appliance.hub.objects.bucket import SINGLE_MAX, Bucket
from appliance.hub.objects.faults import translated
from appliance.hub.objects.keys import checked, folder_of
from appliance.hub.objects.remote import open_remote

_AT_ONCE: Final = 8  # objects that are put side by side: each alone waits for the server's disk
_MARK: Final = "appliance-hub"
_MARK_TEXT: Final = b"What is beside this object is the archive of a hub. Delete nothing of it by hand.\n"


class S3Store:
    """`client`: of botocore; `prefix`: what stands before every key, empty or words with slashes between."""

    def __init__(self, client: Any, bucket: str, prefix: str) -> None:
        self._bucket = Bucket(client, bucket)
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._threads = ThreadPoolExecutor(_AT_ONCE, "object-put")
        self._checked = False

    def check(self) -> None:
        """Raises StoreError, or StoreRefusedError: of the credentials, the bucket, or of a server that overwrites."""
        mark = self._prefix + _MARK
        self._bucket.create_small(mark, _MARK_TEXT)
        if self._bucket.create_small(mark, _MARK_TEXT):
            raise StoreRefusedError("The object store overwrites what it was told not to (If-None-Match)", hint=_OTHER)
        self._bucket.window(mark, 0, 1)
        self._bucket.names(mark)
        self._checked = True

    def put(self, files: Iterable[tuple[str, Path]]) -> None:
        """As the port says. All have ended when it returns or raises."""
        if not self._checked:
            self.check()
        named = [(self._name(key), file) for key, file in files]
        large = {name for name, file in named if file.stat().st_size > SINGLE_MAX}
        under_way = [self._threads.submit(self._bucket.create, *one) for one in named if one[0] not in large]
        try:
            for name, file in named:
                if name in large:  # one after the other: a part of each is in memory
                    self._bucket.create(name, file)
        finally:
            wait(under_way)
        for each in under_way:
            each.result()

    def read(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """As the port says."""
        return self._bucket.read(self._name(key), start, end)

    def open(self, key: str) -> BinaryIO:
        """As the port says; what is read comes in windows of some MiB."""
        return open_remote(self._bucket, self._name(key))

    def fetch(self, key: str, to: Path) -> None:
        """As the port says."""
        with to.open("xb") as target:
            try:
                for piece in self.read(key):
                    target.write(piece)
            except BaseException:
                to.unlink()
                raise

    def delete(self, keys: Iterable[str]) -> None:
        """As the port says."""
        for key in keys:
            self._bucket.delete(self._name(key))

    def discard(self, name: str) -> None:
        """As the port says."""
        folder = self._prefix + folder_of(name)
        for each in self._bucket.names(folder):
            self._bucket.delete(each)
        with translated():
            self._bucket.abort(folder)

    def close(self) -> None:
        """As the port says."""
        self._threads.shutdown()

    def _name(self, key: str) -> str:
        return self._prefix + checked(key)


_OTHER: Final = "Use a server that keeps conditional writes (AWS S3 does, MinIO and Ceph in their newer releases)."
