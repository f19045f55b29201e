"""What a worker does that was taken over costs its own process and names the instance; nothing else is disturbed."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support import canary
from support.hostile_jobs import ENDLESS, HARMS, pixels
from support.images import CONTEXT, Image, data_set, write_source

from appliance.compress import sandbox
from appliance.compress.faults import (
    InstanceMismatchError,
    PackingFailedError,
    ParcelTooSlowError,
    PoolClosedError,
    refusal_of,
)
from appliance.compress.nursery import Nursery
from appliance.compress.pool import WorkerPool
from appliance.compress.process import WorkerProcess
from appliance.compress.values import Source
from appliance.config import Compress
from appliance.errors import SandboxError
from appliance.model.receipt import Refusal

LIMITS = Compress(memory_bytes=512 << 20, cpu_seconds=1, wall_seconds=60)
IMPATIENT = Compress(memory_bytes=512 << 20, cpu_seconds=60, wall_seconds=4)
IMAGE = Image(32, 32)
KILLED = {"connect", "execute_here", "fork", "kill_pool", "trace_pool"}


@pytest.fixture(scope="module")
def pools() -> Iterator[dict[str, WorkerPool]]:
    with (
        WorkerPool(LIMITS, jobs="support.hostile_jobs") as patient,
        WorkerPool(IMPATIENT, jobs="support.hostile_jobs") as impatient,
    ):
        yield {"": patient, "hang": impatient}


@pytest.fixture
def pool(pools: dict[str, WorkerPool], request: pytest.FixtureRequest) -> WorkerPool:
    """One with short patience for what hangs; else one that a slow machine does not disturb."""
    parameters = getattr(request.node, "callspec", None)
    return pools.get(parameters.params["harm"] if parameters else "", pools[""])


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def sources(directory: Path, *contents: bytes, plain: bool = False) -> list[Source]:
    return [
        write_source(directory / f"{number}.dcm", data_set(IMAGE, content, number=number), number=number, plain=plain)
        for number, content in enumerate(contents, 1)
    ]


GOOD = bytes(range(256)) * 8


@pytest.mark.parametrize("harm", sorted(HARMS))
def test_harm_takes_its_own_process_alone_and_names_the_instance(
    pool: WorkerPool, tmp_path: Path, listener: socket.socket, harm: str
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("here")
    target = {
        "connect": str(listener.getsockname()[1]),
        "remove_file": str(victim),
    }.get(harm, str(tmp_path / "owned"))
    batch = sources(tmp_path, GOOD, pixels(harm, target), GOOD)

    if harm == "fill_disk":
        # What it could grow is bounded by what its files may hold; it gained nothing and the parcel is right.
        assert pool.pack(batch, CONTEXT, None, tmp_path / "a.parcel").bytes < 1 << 20
    else:
        with pytest.raises(PackingFailedError) as failure:
            pool.pack(batch, CONTEXT, None, tmp_path / "a.parcel")
        assert failure.value.index == 1
        assert expected(harm) in failure.value.reason
        assert not [word for word in canary.WORDS if word in failure.value.reason.lower()]
        assert not list(tmp_path.glob("*.parcel"))
        assert not list(tmp_path.glob("*.part"))

    assert not (tmp_path / "owned").exists()
    assert victim.exists()
    assert not select.select([listener], [], [], 0)[0]
    packed = pool.pack([batch[0], batch[2]], CONTEXT, None, tmp_path / "b.parcel")
    assert packed.instances == 2
    plain = sources(tmp_path, pixels(harm, target), plain=True)
    assert pool.pack(plain, CONTEXT, None, tmp_path / "c.parcel").codecs == {"plain": 1}


def expected(harm: str) -> str:
    if harm in KILLED:
        return "killed by SIGSYS"
    return {
        "allocate": "out of memory",
        "burn": "killed by SIGXCPU",
        "hang": "it took too long",
        "crash": "killed by SIGSEGV",
        "lie": "it did not come back byte-exact",
        "thread": "RuntimeError at write.py:",  # can't start new thread
        "babble": "it spoke nonsense",
        "forge": "it spoke out of turn",
        "skip": "it spoke out of turn",
        "slander": "something that was not foreseen",
    }.get(harm, "EPERM at write.py:")


@pytest.mark.parametrize("harm", ["crash", "hang", "allocate", "lie"])
def test_a_decoder_that_fails_at_the_hub_refuses_the_parcel_and_leaves_no_file(
    pool: WorkerPool, tmp_path: Path, harm: str
) -> None:
    parcel = tmp_path / "a.parcel"
    with WorkerPool(LIMITS) as honest:
        honest.pack(sources(tmp_path, GOOD, pixels(harm, when="decode")), CONTEXT, None, parcel)
    into = tmp_path / "into"
    into.mkdir()
    with pytest.raises(InstanceMismatchError) as refused:
        pool.unpack(parcel, lambda _: None, into)
    assert refusal_of(refused.value) is Refusal.INSTANCE
    assert not list(into.iterdir())


def test_a_parcel_whose_instances_each_take_their_time_is_refused_when_that_of_the_whole_is_over(
    tmp_path: Path,
) -> None:
    """Each of them stays within what one instance may take: twenty of a second each."""
    parcel, into = tmp_path / "a.parcel", tmp_path / "into"
    into.mkdir()
    with WorkerPool(LIMITS) as honest:
        honest.pack(sources(tmp_path, *[pixels("doze", "1.0", when="decode")] * 20), CONTEXT, None, parcel)
    with (
        WorkerPool(IMPATIENT, jobs="support.hostile_jobs") as pool,
        pytest.raises(ParcelTooSlowError) as refused,
    ):
        pool.unpack(parcel, lambda _: None, into)
    assert refusal_of(refused.value) is Refusal.INSTANCE
    assert not list(into.iterdir())


def test_a_worker_that_names_instances_without_end_is_not_listened_to(pool: WorkerPool, tmp_path: Path) -> None:
    parcel, into = tmp_path / "a.parcel", tmp_path / "into"
    into.mkdir()
    with WorkerPool(LIMITS) as honest:
        honest.pack(sources(tmp_path, GOOD), replace(CONTEXT, site=ENDLESS), None, parcel)
    with pytest.raises(InstanceMismatchError, match="spoke nonsense"):
        pool.unpack(parcel, lambda _: None, into)
    assert not list(into.iterdir())


def test_a_decoder_that_fails_at_the_unit_is_found_before_the_parcel_is_queued(
    pool: WorkerPool, tmp_path: Path
) -> None:
    with pytest.raises(PackingFailedError) as failure:
        pool.pack(sources(tmp_path, GOOD, pixels("lie", when="decode")), CONTEXT, None, tmp_path / "a.parcel")
    assert failure.value.index == 1


@pytest.fixture
def worker() -> Iterator[WorkerProcess]:
    nursery = Nursery("appliance.compress.jobs", 512 << 20)
    with nursery.lend() as started:
        yield started
    nursery.close()


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def test_the_kernel_says_that_the_walls_are_up(worker: WorkerProcess) -> None:
    status = status_of(worker.pid)
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    limits = Path(f"/proc/{worker.pid}/limits").read_text()
    for name, value in {"core file size": 0, "processes": 0, "address space": 512 << 20, "open files": 64}.items():
        line = next(line for line in limits.splitlines() if line.startswith(f"Max {name}"))
        assert line[26:].split()[:2] == [str(value), str(value)], name


@pytest.mark.needs_root  # /proc of a process that is not dumpable is closed to everyone else
def test_a_worker_knows_no_path_and_holds_no_socket_but_its_own(worker: WorkerProcess) -> None:
    words = Path(f"/proc/{worker.pid}/cmdline").read_bytes().split(b"\0")
    assert words[1:6] == [b"-P", b"-B", b"-m", b"appliance.compress.worker", b"appliance.compress.jobs"]
    links = [str(path.readlink()) for path in Path(f"/proc/{worker.pid}/fd").iterdir()]
    assert sum(link.startswith("socket:") for link in links) == 1
    assert {link for link in links if not link.startswith("socket:")} == {"/dev/null"}


def test_landlock_alone_takes_every_path_away(tmp_path: Path) -> None:
    """The second wall, tried without the first."""
    script = f"""
        from appliance.compress import sandbox
        sandbox._prctl(38, 1)
        assert sandbox._landlock() >= 1
        for attempt in (lambda: open("/etc/passwd"), lambda: open({str(tmp_path / "owned")!r}, "w")):
            try:
                attempt()
            except PermissionError:
                print("denied")
    """
    done = run_python(script)
    assert done.stdout.split() == ["denied", "denied"], done.stderr
    assert not (tmp_path / "owned").exists()


def run_python(script: str) -> subprocess.CompletedProcess[str]:
    environment = {"PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    command = [sys.executable, "-c", textwrap.dedent(script)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_workers_die_with_the_pool_even_when_it_is_killed() -> None:
    script = """
        import os, signal
        from appliance.compress.nursery import Nursery
        with Nursery("appliance.compress.jobs", 512 << 20).lend() as worker:
            print(worker.pid, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
    """
    done = run_python(script)
    assert done.returncode == -signal.SIGKILL
    pid = int(done.stdout)
    deadline = time.monotonic() + 5
    while Path(f"/proc/{pid}").exists() and "zombie" not in status_of(pid)["State"]:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_nursery_that_was_killed_is_replaced(tmp_path: Path) -> None:
    with WorkerPool(LIMITS) as pool:
        pool.pack(sources(tmp_path, GOOD), CONTEXT, None, tmp_path / "a.parcel")
        nursery = pool._workers._process
        assert nursery
        os.kill(nursery._process.pid, signal.SIGKILL)
        assert pool.pack(sources(tmp_path, GOOD), CONTEXT, None, tmp_path / "b.parcel").instances == 1


def test_a_missing_libseccomp_is_said_and_nothing_is_packed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = """
        import ctypes, os
        real = ctypes.CDLL
        def without(name, *args, **kwargs):
            if name and "seccomp" in str(name):
                raise OSError("not found")
            return real(name, *args, **kwargs)
        ctypes.CDLL = without
        from appliance.compress import sandbox
        from appliance.errors import SandboxError
        try:
            sandbox.enter(1 << 30, os.getppid())
        except SandboxError as error:
            print(error.message, "|", error.hint)
    """
    done = run_python(script)
    assert "libseccomp.so.2 is not installed" in done.stdout, done.stderr
    assert "libseccomp2" in done.stdout


def test_a_worker_that_can_not_start_is_an_error_of_the_machine(tmp_path: Path) -> None:
    with WorkerPool(LIMITS, jobs="no.such.module") as pool, pytest.raises(SandboxError):
        pool.pack(sources(tmp_path, GOOD), CONTEXT, None, tmp_path / "a.parcel")


def test_closing_the_pool_ends_a_job_at_once(tmp_path: Path) -> None:
    pool = WorkerPool(Compress(wall_seconds=600), jobs="support.hostile_jobs")
    batch = sources(tmp_path, pixels("hang"))
    raised: list[BaseException] = []

    def pack() -> None:
        try:
            pool.pack(batch, CONTEXT, None, tmp_path / "a.parcel")
        except PoolClosedError as error:
            raised.append(error)

    thread = threading.Thread(target=pack)
    thread.start()
    while not list(tmp_path.glob("*.part")):
        time.sleep(0.01)
    time.sleep(1.0)
    pool.close()
    thread.join(60)  # the job's own time is 600 s
    assert not thread.is_alive()
    assert raised
    assert not list(tmp_path.glob("*.part"))


def test_the_lists_of_system_calls_do_not_overlap() -> None:
    assert not set(sandbox._ALLOWED) & set(sandbox._FATAL)
