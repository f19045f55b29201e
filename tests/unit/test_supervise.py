"""`appliance run`: dead processes come back with growing pauses, and all end when it ends, however it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.data import CHECKOUT

from appliance import clock, supervise
from appliance.config import Storage, Tunnel, UnitConfig
from appliance.store_forward.database import FILE_NAME, open_database
from appliance.store_forward.status import PROCESSES, Process, processes_of

BEAT = """
import os, sys, time
from pathlib import Path
from appliance import clock
from appliance.store_forward.database import FILE_NAME, open_database
from appliance.store_forward.queue import beat
connection = open_database(Path(sys.argv[1]))
while True:
    beat(connection, sys.argv[2], clock.now_ms(), "working")
    time.sleep(0.2)
"""


@given(st.integers(0, 10_000))
def test_the_pause_grows_to_a_ceiling(failures: int) -> None:
    assert 0.5 <= supervise.pause_after(failures) <= supervise.pause_after(failures + 1) <= supervise.LONGEST_PAUSE


def test_a_child_that_ends_is_started_again_after_its_pause() -> None:
    child = supervise.Child("receive", [sys.executable, "-c", "raise SystemExit(3)"])
    assert child.turn(100.0) == ""
    said = _turn_until_said(child, 100.1)
    assert said == "receive ended (exit code 3); starting it again in 0.5 s"
    child.turn(100.2)
    assert child.pid is None
    child.turn(100.7)
    assert child.pid is not None
    assert "starting it again in 1 s" in _turn_until_said(child, 100.8)


def test_a_child_that_lived_long_starts_afresh_in_the_count() -> None:
    child = supervise.Child("receive", [sys.executable, "-c", "raise SystemExit(1)"])
    child.failures = 9
    child.turn(0.0)
    _turn_until_said(child, supervise.LASTING + 1)
    assert child.failures == 1


def test_a_child_that_was_killed_says_by_which_signal() -> None:
    child = supervise.Child("web", ["sleep", "60"])
    child.turn(0.0)
    child.signal(signal.SIGKILL)
    assert "signal SIGKILL" in _turn_until_said(child, 0.1)


def test_a_child_that_will_not_end_is_killed() -> None:
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"
    child = supervise.Child("web", [sys.executable, "-c", stubborn])
    child.turn(0.0)
    time.sleep(0.5)
    child.signal(signal.SIGTERM)
    child.wait(time.monotonic() + 0.3)
    assert child.pid is not None
    assert not _runs(child.pid)


def _turn_until_said(child: supervise.Child, now: float) -> str:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if said := child.turn(now):
            return said
        time.sleep(0.02)
    raise AssertionError("it did not end")


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()


class Running:
    """`supervise.run` in a thread, with children that only beat."""

    def __init__(self, data: Path) -> None:
        self.said: list[str] = []
        self.stop = threading.Event()
        self.config = UnitConfig(storage=Storage(data=str(data)))
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        supervise.run(self.config, self._command, self.stop, self.said.append)

    def _command(self, name: str) -> Sequence[str]:
        return [sys.executable, "-c", BEAT, str(self.config.data), name]

    def end(self) -> None:
        self.stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive()

    def pids(self) -> dict[str, int]:
        connection = open_database(self.config.data)
        found = {row["name"]: row["pid"] for row in connection.execute("SELECT name, pid FROM process")}
        connection.close()
        return found

    def wait_for(self, text: str) -> None:
        deadline = time.monotonic() + 30
        while not any(text in line for line in self.said):
            assert time.monotonic() < deadline, self.said
            time.sleep(0.05)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    started = Running(tmp_path)
    yield started
    started.end()


ALL_WORK = " · ".join(f"{name}: working" for name in PROCESSES)


def test_a_database_whose_tables_are_just_being_made_is_waited_for(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")  # as the first process leaves it before its migrations
    started = Running(tmp_path)
    try:
        started.wait_for(ALL_WORK)
    finally:
        started.end()


def test_all_four_run_come_back_and_end(running: Running) -> None:
    running.wait_for(ALL_WORK)
    before = running.pids()
    os.kill(before["forward"], signal.SIGKILL)
    running.wait_for("forward ended (signal SIGKILL); starting it again in 0.5 s")
    deadline = time.monotonic() + 30
    while running.pids()["forward"] == before["forward"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    after = running.pids()
    assert {name for name in after if after[name] != before[name]} == {"forward"}
    running.end()
    assert [name for name, pid in after.items() if _runs(pid)] == []


def test_the_manager_is_told_ready_only_when_all_beat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        started = Running(tmp_path / "data")
        started.config.data.mkdir(exist_ok=True)
        heard = ""
        while "READY=1" not in heard:
            heard = manager.recv(4096).decode()
        started.end()
        assert f"STATUS={ALL_WORK}" in heard


def test_one_that_ends_again_and_again_does_not_make_the_manager_end_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class WithoutSender(Running):
        def _command(self, name: str) -> Sequence[str]:
            return ["false"] if name == "forward" else super()._command(name)

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        (tmp_path / "data").mkdir()
        started = WithoutSender(tmp_path / "data")
        heard = ""
        while "WATCHDOG=1" not in heard:
            heard = manager.recv(4096).decode()
        started.end()
        assert "receive: working" in heard
        assert "forward: starting" in heard


def test_kill_9_of_the_supervisor_ends_its_children(tmp_path: Path) -> None:
    program = (
        "import sys, threading; from pathlib import Path; from appliance import supervise; "
        "from appliance.config import Storage, Tunnel, UnitConfig; "
        "supervise.run(UnitConfig(storage=Storage(data=sys.argv[1])), "
        "lambda name: [sys.executable, '-c', sys.argv[2], sys.argv[1], name], threading.Event(), "
        "lambda line: print(line, flush=True))"
    )
    command = [sys.executable, "-c", program, str(tmp_path), BEAT]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout is not None
        for line in supervisor.stdout:
            if line.strip() == ALL_WORK:
                break
        connection = open_database(tmp_path)
        pids = [row["pid"] for row in connection.execute("SELECT pid FROM process")]
        connection.close()
        supervisor.kill()
    deadline = time.monotonic() + 10
    while any(_runs(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_summary_names_who_does_not_beat() -> None:
    beating = {"web": Process(name="web", alive=True, pid=1, started_at=0, beat_at=clock.now_ms(), status="")}
    assert (
        supervise.summary(beating, PROCESSES) == "receive: starting · compress: starting · forward: starting · web: up"
    )


@pytest.mark.needs_root
def test_only_the_tunnel_gets_the_rights_that_a_service_was_given() -> None:
    program = (
        "import sys, time; from appliance import supervise; "
        'read = \'print([l.split()[1] for l in open("/proc/self/status") if l.startswith("CapEff")][0])\'; '
        "child = supervise.Child(sys.argv[1], [sys.executable, '-c', read]); "
        "child.turn(0.0); child.wait(time.monotonic() + 20)"
    )
    # A root without root's rights: only what is ambient reaches a program that is started.
    service = ["setpriv", "--securebits", "+noroot", "--inh-caps", "-all,+net_admin", "--ambient-caps", "+net_admin"]
    service += [sys.executable, "-c", program]
    rights = {}
    for name in ("tunnel", "receive"):
        done = subprocess.run([*service, name], capture_output=True, text=True, timeout=60, check=True, cwd=CHECKOUT)
        rights[name] = int(done.stdout, 16)
    assert rights == {"tunnel": 1 << 12, "receive": 0}


def test_the_tunnel_is_run_only_where_one_is_configured() -> None:
    assert "tunnel" not in processes_of(UnitConfig())
    assert processes_of(UnitConfig(tunnel=Tunnel(endpoint="hub.example.org:51820")))[-1] == "tunnel"
