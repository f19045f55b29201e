"""Starts the product's processes in milliseconds, and can give one of them a fault that the product has no switch for.

The launcher is a small process that has imported the rooms once; each start is a fork of it. The forked child runs the
room's own `run(config, stop)`, as the command line does. What a test may change in a child:

- `faults`: leave out an fsync of files or of directories, or weaken SQLite's `synchronous`. They prove that a rig would
  see such a mistake;
- the clock: `appliance.clock.now_ms` is moved by a number of milliseconds that the test may change at any time.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import mmap
import os
import signal
import sqlite3
import stat
import struct
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Final, Self

ROOMS: Final = {
    "receive": "appliance.store_forward.receive",
    "compress": "appliance.store_forward.packing",
    "forward": "appliance.store_forward.forward",
    "web": "appliance.webui.server",
    "hub": "appliance.hub.server",
}
_ENDINGS: Final = (signal.SIGTERM, signal.SIGINT)


class Running:
    """One started process of the product."""

    def __init__(self, launcher: Launcher, name: str, pid: int, log: Path) -> None:
        self._launcher = launcher
        self.name, self.pid, self.log = name, pid, log

    def kill(self) -> None:
        """SIGKILL; returns when the process is gone."""
        self._launcher.ask(do="kill", pid=self.pid, signal=signal.SIGKILL)

    def stop(self, seconds: float = 15.0) -> int:
        """SIGTERM; returns the exit code. SIGKILL (exit code -9) when it is not gone in time."""
        return int(self._launcher.ask(do="kill", pid=self.pid, signal=signal.SIGTERM, seconds=seconds)["code"])

    def exit_code(self) -> int | None:
        """None while it runs."""
        code = self._launcher.ask(do="poll", pid=self.pid)["code"]
        return None if code is None else int(code)


class Launcher:
    """Starts and ends processes. `logs`: directory where each start gets a log file of its own."""

    def __init__(self, logs: Path, rooms: Sequence[str] = tuple(ROOMS)) -> None:
        logs.mkdir(parents=True, exist_ok=True)
        self.logs = logs
        self._count = 0
        self._lock = threading.Lock()
        self._clock = logs / ".clock"
        self._clock.write_bytes(bytes(8))
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OPENBLAS_NUM_THREADS": "1"}
        with (logs / "launcher.log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(Path(__file__)), str(self._clock), *rooms],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
            )

    def start(self, name: str, config: Path, faults: Sequence[str] = ()) -> Running:
        """A process of the room `name` with this configuration file."""
        with self._lock:
            self._count += 1
            log = self.logs / f"{self._count:04d}-{name}.log"
        pid = self.ask(do="start", name=name, config=str(config), faults=list(faults), log=str(log))["pid"]
        return Running(self, name, pid, log)

    def move_clock(self, milliseconds: int) -> None:
        """From now on `now_ms` of every child is the true time and this."""
        with self._clock.open("r+b") as file:  # in place: the children have it mapped
            file.write(struct.pack("<q", milliseconds))

    def log_files(self) -> list[Path]:
        """Every log so far."""
        return sorted(self.logs.glob("*.log"))

    def ask(self, **command: Any) -> dict[str, Any]:
        """One command of the protocol of `main` below."""
        with self._lock:
            assert self._process.stdin
            assert self._process.stdout
            self._process.stdin.write(json.dumps(command).encode() + b"\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        if not line:
            raise OSError(f"the launcher has ended: {(self.logs / 'launcher.log').read_text()[-2000:]}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """Kills every child that still runs."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


# ---------------------------------------------------------------- inside the launcher and its children


def main(clock_file: str, rooms: Sequence[str]) -> None:
    """Reads commands from standard input until it is closed; then kills what still runs."""
    for number in _ENDINGS:  # whoever ends the test ends this by closing its input, so that no child stays behind
        signal.signal(number, signal.SIG_IGN)
    _move_clock_by(clock_file)
    for name in rooms:
        importlib.import_module(ROOMS[name])
    children: dict[int, int | None] = {}
    for line in sys.stdin:
        command = json.loads(line)
        if command["do"] == "start":
            pid = _fork(command)
            children[pid] = None
            answer: dict[str, Any] = {"pid": pid}
        else:
            seconds = 0.0 if command["do"] == "poll" else float(command.get("seconds", 15))
            answer = {"code": _end(children, command["pid"], command.get("signal", 0), seconds)}
        os.write(1, json.dumps(answer).encode() + b"\n")
    for pid in children:
        _end(children, pid, signal.SIGKILL, 5.0)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)  # what a killed process may have left behind


def _fork(command: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        os.setpgid(0, 0)
        for number in _ENDINGS:
            signal.signal(number, signal.SIG_DFL)
        log = os.open(command["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        null = os.open(os.devnull, os.O_RDWR)
        for source, target in ((null, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        for fault in command["faults"]:
            FAULTS[fault]()
        code = _run(command["name"], Path(command["config"]))
    except BaseException:  # noqa: BLE001 - a child must never return into the launcher's loop
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _run(name: str, path: Path) -> int:
    """What the verb of the command line does: read the configuration, set up the log, run until SIGTERM."""
    from appliance import logs
    from appliance.config import HubConfig, UnitConfig, load_hub, load_unit
    from appliance.errors import ApplianceError

    stop = threading.Event()

    def end(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    logs.configure(name)
    run: Callable[[UnitConfig | HubConfig, threading.Event], None] = importlib.import_module(ROOMS[name]).run
    try:
        config = load_hub(path) if name == "hub" else load_unit(path)
        config.data.mkdir(mode=0o750, parents=True, exist_ok=True)
        run(config, stop)
    except ApplianceError as error:
        sys.stderr.write(f"{error.id} {error.message}\n")
        return error.exit_code
    return 0


def _end(children: dict[int, int | None], pid: int, number: int, seconds: float) -> int | None:
    """Sends the signal and waits for the end; SIGKILL when it does not come in time. The exit code, None: it runs."""
    known = children.get(pid)
    if known is not None:
        return known
    if number:
        os.kill(pid, number)
    deadline = time.monotonic() + seconds
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            children[pid] = os.waitstatus_to_exitcode(status)
            return children[pid]
        if time.monotonic() > deadline:
            return _end(children, pid, signal.SIGKILL, 15.0) if number else None
        time.sleep(0.001)


def _move_clock_by(path: str) -> None:
    """Every room that is imported from now on takes the time from a clock that the test may move."""
    from appliance import clock

    true = clock.now_ms
    with open(path, "r+b") as file:  # noqa: PTH123 - mmap needs the descriptor
        offset = mmap.mmap(file.fileno(), 8)
    clock.now_ms = lambda: true() + int(struct.unpack("<q", offset[:8])[0])


_fsync = os.fsync


def _leave_out_fsync(of_directories: bool) -> None:
    def fsync(file: int | Any) -> None:
        number = file if isinstance(file, int) else file.fileno()
        if stat.S_ISDIR(os.fstat(number).st_mode) != of_directories:
            _fsync(number)

    os.fsync = os.fdatasync = fsync


def _weaken_sqlite(level: str) -> None:
    def weaken(sql: str) -> str:
        return sql.replace("synchronous = FULL", f"synchronous = {level}")

    class WeakCursor(sqlite3.Cursor):
        def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
            return super().execute(weaken(sql), *values)

    class Weak(sqlite3.Connection):
        def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
            return super().execute(weaken(sql), *values)

        def cursor(self, factory: Any = WeakCursor) -> Any:
            return super().cursor(factory)

    connect = sqlite3.connect

    def weak_connect(*arguments: Any, **options: Any) -> sqlite3.Connection:
        return connect(*arguments, **{"factory": Weak, **options})

    sqlite3.connect = sqlite3.dbapi2.connect = weak_connect  # type: ignore[assignment]  # SQLAlchemy takes the second


def _eight_files_a_directory() -> None:
    """No fault: the spool moves on to its next directory so often that every accident meets a change of it."""
    importlib.import_module("appliance.store_forward.spool")._FILES_IN_A_ROW = 8


FAULTS: Final[dict[str, Callable[[], None]]] = {
    "no file fsync": lambda: _leave_out_fsync(False),
    "no directory fsync": lambda: _leave_out_fsync(True),
    "synchronous NORMAL": lambda: _weaken_sqlite("NORMAL"),
    "synchronous OFF": lambda: _weaken_sqlite("OFF"),
    "eight files a directory": _eight_files_a_directory,
}


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
