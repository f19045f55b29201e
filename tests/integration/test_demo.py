"""`./dev demo --once`: hub, unit and modality as their own processes, every image verified, exit code 0."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from support.data import CHECKOUT

DEMO = [sys.executable, "-W", "ignore", str(CHECKOUT / "bench" / "demo.py")]


def _environment(temporary: Path) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(CHECKOUT / "tests"), "TMPDIR": str(temporary)}


@pytest.mark.timeout(400)
def test_every_line_of_the_table_says_verified(tmp_path: Path) -> None:
    done = subprocess.run(
        [*DEMO, "--once"], env=_environment(tmp_path), capture_output=True, text=True, timeout=380, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    table = done.stdout.partition("seconds\n")[2].splitlines()[1:]
    lines = table[: next(number for number, line in enumerate(table) if line.startswith("in all"))]
    assert len(lines) >= 20
    assert [line for line in lines if not re.search(r" verified [0-9a-f]{8} +\d+\.\d$", line)] == []
    assert max(len(line) for line in table) <= 100
    assert list(tmp_path.iterdir()) == []  # it cleans up behind itself


@pytest.mark.timeout(400)
def test_without_once_the_page_stays_up_until_it_is_interrupted(tmp_path: Path) -> None:
    said = tmp_path / "said"
    (tmp_path / "kept").mkdir()
    with said.open("wb") as output:
        demo = subprocess.Popen(DEMO, env=_environment(tmp_path / "kept"), stdout=output, stderr=output)
    try:
        page = _wait_for(r"page: (http://\S+)\s+name: demo\s+PIN: (\d{6})", said, demo)
        with urllib.request.urlopen(page, timeout=20) as answer:
            assert answer.status == 200
    finally:
        demo.send_signal(signal.SIGINT)
        assert demo.wait(60) == 0, said.read_text()
    assert list((tmp_path / "kept").iterdir()) == []


def _wait_for(pattern: str, said: Path, demo: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + 380
    while time.monotonic() < deadline:
        if found := re.search(pattern, said.read_text()):
            return found.group(1)
        assert demo.poll() is None, said.read_text()
        time.sleep(0.2)
    raise AssertionError(said.read_text())
