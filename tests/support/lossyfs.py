"""`forgetful_disk` as a real file system (FUSE), so that unchanged processes and SQLite can be cut off from power.

    with LossyMount(directory) as disk:
        disk.arm(after=120)          # the power goes when the 120th mutating call begins
        ...start processes on `directory`...
        disk.wait_cut(seconds=10)    # True when it has gone; every call now fails with EIO
        ...kill them...
        disk.power_on(seed=7)        # what survived

The file system is a process of its own: it must outlive everything that uses it, and no lock of ours may be held
while the kernel waits for it.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_START_SECONDS = 20.0


class LossyMount:
    """Mounts a forgetful disk on a directory and tells it when the power goes."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("lossyfs_server.py")), str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._pending = b""
        self._power_is_off = False
        deadline = time.monotonic() + _START_SECONDS
        while not os.path.ismount(directory):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise OSError(f"could not mount the forgetful disk on {directory}")
            time.sleep(0.005)

    def arm(self, after: int, call: str = "") -> None:
        """The power goes when the `after`th mutating call from now begins; with `call`, at the next such call then."""
        self._ask(do="arm", after=after, call=call)

    def cut(self) -> None:
        """The power goes now."""
        self._ask(do="cut")
        self._power_is_off = True

    def wait_cut(self, seconds: float) -> bool:
        """Whether the power has gone; waits at most `seconds` for it."""
        if not self._power_is_off:
            self._power_is_off = self._line(seconds) is not None
        return self._power_is_off

    def power_on(self, seed: int) -> str:
        """Shows what survived, drawn from `seed`; returns the call that the cut prevented. Kill all users first."""
        answer = self._ask(do="power_on", seed=seed)
        self._power_is_off = False
        return str(answer["cut_before"])

    def mutations(self) -> int:
        """Mutating calls since the last `power_on`."""
        return int(self._ask(do="count")["mutations"])

    def close(self) -> None:
        """Unmounts and ends the process."""
        subprocess.run(["fusermount3", "-u", "-z", "-q", str(self.directory)], check=False)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.communicate(timeout=5)
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _ask(self, **command: Any) -> dict[str, Any]:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        self._process.stdin.flush()
        while True:
            line = self._line(_START_SECONDS)
            if line is None:
                raise OSError("the forgetful disk does not answer")
            if "cut" not in line:
                return line
            self._power_is_off = True  # the cut came before the answer

    def _line(self, seconds: float) -> dict[str, Any] | None:
        assert self._process.stdout
        deadline = time.monotonic() + seconds
        while b"\n" not in self._pending:
            ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                return None
            more = os.read(self._process.stdout.fileno(), 65536)
            if not more:
                raise OSError("the forgetful disk has ended")
            self._pending += more
        line, _, self._pending = self._pending.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer
