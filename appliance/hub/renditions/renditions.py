"""The door: an instance in the best form that a peer takes. Blocking; for any number of threads and processes."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final

import sqlalchemy.exc

from appliance.clock import now_ms
from appliance.compress.pool import WorkerPool
from appliance.config import HubConfig
from appliance.errors import ApplianceError, DamagedFileError, DiskFullError
from appliance.hub.archive import DAMAGED, Form, Retriever, digest_of
from appliance.hub.durable import free_bytes
from appliance.hub.index.database import Index
from appliance.hub.index.studies import StoredInstance
from appliance.hub.objects.store import Store
from appliance.hub.renditions import rows
from appliance.hub.renditions.maker import JOBS, Maker
from appliance.hub.renditions.opened import Opened, Pieces, local
from appliance.hub.renditions.rows import Busy, Failed, Kept, Lease
from appliance.hub.renditions.scratch import Scratch
from appliance.hub.renditions.targets import to_make
from appliance.hub.renditions.values import NotMadeError, Reason
from appliance.part10.transfer_syntax import JPEG_2000_LOSSLESS

DIRECTORY: Final = "renditions"
_KEEP_SECONDS: Final = rows.LEASE_MS / 3000
_LOOK_SECONDS: Final = 0.25  # between looks at what another process makes
_TRIES: Final = 5  # a rendition may be thrown away between the look at its row and the read
_SWEPT: Final = 100


class Renditions:
    """Gives instances out. `pool` gives back the exact bytes of what the archive keeps in JPEG 2000."""

    def __init__(
        self,
        index: Index,
        store: Store,
        pool: WorkerPool,
        config: HubConfig,
        *,
        clock: Callable[[], int] = now_ms,
        jobs: str = JOBS,
    ) -> None:
        self._index, self._store, self._config, self._clock = index, store, config, clock
        self._retriever = Retriever(store, pool)
        self._maker = Maker(config.compress, jobs=jobs)
        self._scratch = Scratch(config.data / DIRECTORY)
        self._holder = secrets.token_hex(16)
        self._slots = threading.BoundedSemaphore(config.compress.workers)
        self._settled = threading.Condition()

    def __enter__(self) -> Renditions:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends what is being made: those who wait for it get PoolClosedError."""
        self._maker.close()
        self._scratch.close()

    def open(self, instance: StoredInstance, accepted: Sequence[str]) -> Opened:
        """The instance in one of the `accepted` transfer syntaxes, the best first: as stored when that is one of them,
        as kept, or made now. To be closed.

        Raises NotMadeError: this one can't be given so. DamagedFileError: the archive's copy is damaged. DiskFullError,
        DatabaseError, StoreError, SandboxError, PoolClosedError, OSError: not now.
        """
        stored = stored_syntax(instance)
        if stored in accepted:
            read = self._reader(instance.stored_key)
            return Opened(stored, instance.stored_digest, instance.stored_bytes, read)
        for _ in range(_TRIES):
            with self._index.read() as connection:
                kept = rows.kept_of(connection, instance.id, accepted)
            found = kept or self._made(instance, to_make(stored, instance.transfer_syntax_uid, accepted))
            if isinstance(found, Opened):
                return found
            with suppress(DamagedFileError):
                return self._opened(instance, found)
            self._gone(found)
        raise DamagedFileError("What was made of an instance is lost again and again", hint=DAMAGED)

    def clean(self) -> None:
        """Removes what dead processes were making, and what is over the budget."""
        with self._index.write() as connection:
            rows.give_up_ended(connection, self._clock())
            rows.make_room(connection, self._allowed(rows.kept_bytes(connection)))
        self._sweep()

    def _reader(self, key: str) -> Callable[[int], Pieces]:
        return partial(self._store.read, key)

    def _opened(self, instance: StoredInstance, kept: Kept) -> Opened:
        """Raises DamagedFileError when it is not there any more."""
        now = self._clock()
        with self._index.read() as connection:
            known = rows.was_used(connection, kept, now)
        if not known:
            with self._index.write() as connection:
                rows.touch(connection, kept, now)
        read = partial(self._read, instance, kept)
        return Opened(kept.transfer_syntax_uid, kept.digest, kept.bytes, read, damaged=partial(self._gone, kept))

    def _read(self, instance: StoredInstance, kept: Kept, start: int) -> Pieces:
        """Goes on in one made anew when the object is thrown away in the middle, for it has the same bytes."""
        at = start
        try:
            for piece in self._store.read(kept.key, start):
                at += len(piece)
                yield piece
        except DamagedFileError:
            if at == 0:
                raise
            self._gone(kept)
            with self.open(instance, [kept.transfer_syntax_uid]) as again:
                if again.digest != kept.digest:
                    raise
                yield from again.read(at)

    def _gone(self, kept: Kept) -> None:
        with self._index.write() as connection:
            rows.gone(connection, kept)

    def _made(self, instance: StoredInstance, wanted: Sequence[str]) -> Kept | Opened:
        """The first of these that can be made."""
        failure: NotMadeError | None = None  # of the form that the peer likes best
        for uid in wanted:
            try:
                return self._one(instance, uid)
            except NotMadeError as error:
                failure = failure or error
        raise failure or NotMadeError(Reason.NO_SYNTAX)

    def _one(self, instance: StoredInstance, uid: str) -> Kept | Opened:
        """Waits while somebody else makes it."""
        while True:
            with self._slots:
                answer = self._take(instance, uid)
                if isinstance(answer, Lease):
                    made = self._make(answer, instance)
                    if made:
                        return made
            if isinstance(answer, Kept):
                return answer
            if isinstance(answer, Failed):
                raise NotMadeError(answer.reason)
            with self._settled:
                self._settled.wait(_LOOK_SECONDS)

    def _take(self, instance: StoredInstance, uid: str) -> rows.Answer:
        try:
            with self._index.write() as connection:
                return rows.take(connection, instance.id, uid, self._holder, self._clock())
        except sqlalchemy.exc.IntegrityError:  # another process was first
            return Busy()

    def _make(self, lease: Lease, instance: StoredInstance) -> Kept | Opened | None:
        """None: the lease was lost on the way, and somebody else has it."""
        try:
            self._maker.raise_if_closed()
            with self._holding(lease), self._scratch.room() as room:
                out = room / "made.dcm"
                self._write(instance, lease.transfer_syntax_uid, room, out)
                return self._file(lease, out)
        except NotMadeError as error:
            with self._index.write() as connection:
                rows.fail(connection, lease, error.reason, self._clock())
            raise
        except BaseException:
            with suppress(ApplianceError), self._index.write() as connection:  # else the lease ends by itself
                rows.release(connection, lease)
            raise
        finally:
            with self._settled:
                self._settled.notify_all()

    @contextmanager
    def _holding(self, lease: Lease) -> Iterator[None]:
        """Makes the lease longer, again and again."""
        over = threading.Event()

        def keep() -> None:
            while not over.wait(_KEEP_SECONDS):
                with suppress(ApplianceError), self._index.write() as connection:
                    rows.keep(connection, lease, self._clock())

        with ExitStack() as stack:
            keeper = threading.Thread(target=keep, name="rendition-lease", daemon=True)
            keeper.start()
            stack.callback(keeper.join)
            stack.callback(over.set)
            yield

    def _write(self, instance: StoredInstance, uid: str, room: Path, out: Path) -> None:
        self._need(2 * instance.stored_bytes)
        if uid == instance.transfer_syntax_uid:  # the archive has it in another form, and what gives it back exactly
            self._retriever.exact(instance, out)
            return
        source = room / "stored.dcm"
        self._store.fetch(instance.stored_key, source)
        with source.open("rb") as file:
            if digest_of(file) != (instance.stored_digest, instance.stored_bytes):
                raise DamagedFileError("The archive's copy of an instance is damaged", hint=DAMAGED)
        self._maker.make(source, out, uid)

    def _file(self, lease: Lease, out: Path) -> Kept | Opened | None:
        with out.open("rb") as file:
            digest, size = digest_of(file)
        with self._index.write() as connection:
            allowed = self._allowed(rows.kept_bytes(connection) + size)
            keeps = size <= allowed and rows.keep(connection, lease, self._clock())
            if keeps:
                rows.make_room(connection, allowed - size)
            else:
                rows.release(connection, lease)
        if not keeps:  # it is larger than all that may be kept, or somebody else took the lease over
            return Opened(lease.transfer_syntax_uid, digest, size, local(out))
        self._sweep()
        self._store.put([(lease.key, out)])
        with self._index.write() as connection:
            settled = rows.settle(connection, lease, digest, size, self._clock())
            rows.make_room(connection, self._config.objects.renditions_bytes)
        return Kept(lease.transfer_syntax_uid, lease.key, digest, size) if settled else None

    def _allowed(self, there: int) -> int:
        """Bytes that may be kept, of which `there` are on the disk already: it shrinks as the disk fills."""
        free = free_bytes(self._config.data) - self._config.hub.reserve_bytes
        return max(0, min(self._config.objects.renditions_bytes, there + free))

    def _need(self, size: int) -> None:
        """Raises DiskFullError when there are not `size` bytes beside the reserve, not even without renditions."""
        short = size + self._config.hub.reserve_bytes - free_bytes(self._config.data)
        if short <= 0:
            return
        with self._index.write() as connection:
            rows.make_room(connection, max(0, rows.kept_bytes(connection) - short))
        self._sweep()
        if free_bytes(self._config.data) < size + self._config.hub.reserve_bytes:
            raise DiskFullError

    def _sweep(self) -> None:
        """Removes the objects that no row names. Who is killed in the middle leaves the keys to the next."""
        with self._index.read() as connection:
            keys = rows.spent(connection, _SWEPT)
        while keys:
            self._store.delete(keys)
            with self._index.write() as connection:
                rows.removed(connection, keys)
                keys = rows.spent(connection, _SWEPT)


def stored_syntax(instance: StoredInstance) -> str:
    """The transfer syntax of the object in the archive."""
    return JPEG_2000_LOSSLESS if instance.form == Form.JPEG2000 else instance.transfer_syntax_uid
