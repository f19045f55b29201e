"""A bench that was killed leaves its namespaces behind; the next one clears them, and nobody else's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from harness.namespaces import HUB, SITE, Namespaces
from support.data import CHECKOUT
from support.processes import wait_for

pytestmark = pytest.mark.needs_root
KILLED = """
import os, signal, subprocess, sys
from harness.namespaces import HUB, Namespaces
with Namespaces() as there:
    left = subprocess.Popen(there[HUB].command(["sleep", "3600"]), start_new_session=True)
    print(there.token, left.pid, flush=True)
    sys.stdin.read()
"""


def names() -> set[str]:
    return {path.name for path in Path("/run/netns").iterdir()}


def is_alive(process: int) -> bool:
    return Path(f"/proc/{process}/exe").exists()


def test_what_a_killed_bench_left_is_cleared_and_what_lives_is_left_alone() -> None:
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT / "bench")}
    with (
        Namespaces() as living,
        subprocess.Popen(
            [sys.executable, "-c", KILLED], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as bench,
    ):
        assert bench.stdout
        token, inside = bench.stdout.readline().split()
        bench.send_signal(signal.SIGKILL)
        bench.wait()
        assert f"gateway-{token}-{HUB}" in names()
        with Namespaces():
            assert {name for name in names() if token in name} == set()
            wait_for(lambda: not is_alive(int(inside)), "what ran in it has ended")
            assert living[SITE].namespace in names()
