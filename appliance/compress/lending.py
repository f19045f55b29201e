"""Which worker does the next job: kept ones, fresh ones, and their replacement. Thread-safe."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Final

from appliance.compress.faults import PoolClosedError
from appliance.compress.process import WorkerProcess
from appliance.errors import SandboxError

_JOBS_EACH: Final = 64  # then it is replaced, whatever its libraries have leaked
_SPARES_MAX: Final = 2
_STARTS_MAX: Final = 3


class Lender:
    """Starts workers as they are needed. A worker that failed, or did a throw-away job, is not used again."""

    def __init__(self, jobs: str, memory_bytes: int) -> None:
        self._jobs, self._memory_bytes = jobs, memory_bytes
        self._lock = threading.Lock()
        self._kept: list[WorkerProcess] = []
        self._spares: list[Future[WorkerProcess]] = []
        self._lent: set[WorkerProcess] = set()
        self._closed = threading.Event()
        # A worker dies with the thread that started it (PR_SET_PDEATHSIG), so one thread that lives starts them all.
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="worker-starter")

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed.is_set()

    @contextmanager
    def lend(self, *, throw_away: bool) -> Iterator[WorkerProcess]:
        """A worker for one job. After an exception, or when it is a throw-away one, it is ended and replaced."""
        worker = self._take(fresh=throw_away)
        keep = False
        try:
            yield worker
            worker.jobs_done += 1
            keep = not throw_away and worker.jobs_done < _JOBS_EACH
        finally:
            self._give_back(worker, keep=keep)

    def prepare(self) -> None:
        """Begins to start a worker, so that the first job need not wait for it."""
        with self._lock:
            if not self._closed.is_set() and not self._spares:
                self._spares.append(self._start())

    def close(self) -> None:
        """Ends all workers, those at work too."""
        with self._lock:
            self._closed.set()
            kept, spares, lent = self._kept, self._spares, list(self._lent)
            self._kept, self._spares = [], []
        for worker in lent:
            worker.kill()  # the thread that it was lent to ends it
        self._starter.shutdown(wait=True, cancel_futures=True)
        for spare in spares:
            if not spare.cancelled() and spare.exception() is None:
                spare.result().end()
        for worker in kept:
            worker.end()

    def _take(self, *, fresh: bool) -> WorkerProcess:
        with self._lock:
            if self._closed.is_set():
                raise PoolClosedError
            while self._kept and not fresh:
                worker = self._kept.pop()
                if worker.is_alive:
                    self._lent.add(worker)
                    return worker
                worker.end()
            coming = self._spares.pop(0) if self._spares else self._start()
        try:
            worker = coming.result()
        except CancelledError:
            raise PoolClosedError from None
        with self._lock:
            if not self._closed.is_set():
                self._lent.add(worker)
                return worker
        worker.end()
        raise PoolClosedError

    def _start(self) -> Future[WorkerProcess]:
        return self._starter.submit(self._new_worker)

    def _new_worker(self) -> WorkerProcess:
        """One that something killed while it started says nothing; walls that can't be put up fail each time."""
        for _ in range(_STARTS_MAX - 1):
            with suppress(SandboxError):
                return WorkerProcess(self._jobs, self._memory_bytes)
        return WorkerProcess(self._jobs, self._memory_bytes)

    def _give_back(self, worker: WorkerProcess, *, keep: bool) -> None:
        with self._lock:
            self._lent.discard(worker)
            keep = keep and not self._closed.is_set()
            if keep:
                self._kept.append(worker)
            elif not self._closed.is_set() and len(self._spares) < _SPARES_MAX:
                self._spares.append(self._start())
        if not keep:
            worker.end()
