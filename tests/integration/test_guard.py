"""Nothing that Python or a library writes to standard error by itself tells what it met: only its kind and place."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from support import canary
from support.processes import free_port, write_hub, write_unit

# Each makes the process whose name is the last argument fail in one way, in the middle of its work.
PATIENT = f"{canary.NAME} {canary.PATIENT_ID} {canary.BIRTH_DATE} {canary.DESCRIPTION}"
MISTAKES = {
    "in the main thread": "{}[PATIENT]",
    "in a chain": """
        try: {}[PATIENT]
        except KeyError as error: raise ValueError(PATIENT) from error""",
    "in a group": "raise ExceptionGroup(PATIENT, [ValueError(PATIENT), ExceptionGroup(PATIENT, [KeyError(PATIENT)])])",
    "in a thread": """
        thread = threading.Thread(target=lambda: {}[PATIENT], name=PATIENT)
        thread.start(); thread.join()""",
    "in a finalizer": """
        class Patient:
            def __del__(self): {}[PATIENT]
            def __repr__(self): return PATIENT
        Patient()""",
    "in a task that nobody awaits": """
        async def fail(): {}[PATIENT]
        async def main():
            task = asyncio.create_task(fail(), name=PATIENT)
            await asyncio.sleep(0)
            del task
            gc.collect()
        asyncio.run(main())""",
    "in a callback of a loop": """
        async def main():
            asyncio.get_running_loop().call_soon(lambda: {}[PATIENT])
            await asyncio.sleep(0.01)
        asyncio.run(main())""",
    "as a warning": "warnings.warn(PATIENT)",
    "in a library's log": """
        logging.getLogger("some.library").error("no such patient: %s", PATIENT)
        logging.getLogger("some.library").error(PATIENT, PATIENT)""",
    "in a library's log of an error": """
        try: {}[PATIENT]
        except KeyError: logging.getLogger("some.library").exception("no such patient: %s", PATIENT)""",
}
PROGRAM = """
import asyncio, gc, logging, sys, threading, warnings
PATIENT = {patient!r}
def fail(*_):{mistake}
import appliance.hub.server, {module}
{module}.run = appliance.hub.server.run = fail
from appliance import cli
cli.main()
"""
KINDS = {"as a warning": "py.warnings", "in a library's log": "some.library"}


def run(mistake: str, module: str, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    body = mistake if mistake.startswith("\n") else f"\n    {mistake}"
    program = PROGRAM.format(patient=PATIENT, mistake=body.replace("\n        ", "\n    "), module=module)
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("how", sorted(MISTAKES))
def test_what_nobody_caught_is_told_by_kind_and_place_alone(how: str, tmp_path: Path) -> None:
    config = write_unit(tmp_path / "unit.toml", tmp_path / "data", free_port())
    done = run(MISTAKES[how], "appliance.store_forward.forward", ["--config", str(config), "forward"])
    said = done.stdout + done.stderr
    assert not [word for word in canary.WORDS if word in said.lower()], said
    assert "Traceback" not in said
    lines = [json.loads(text) for text in done.stderr.splitlines()]
    for line in lines:
        assert line["process"] == "forward"
        assert KINDS.get(how, "Error") in line.get("name", line.get("exception"))
    if how in {"in the main thread", "in a chain", "in a group"}:
        assert done.returncode == 1
        assert lines[0]["exception"].endswith("KeyError" if how != "in a group" else "ValueError")
        assert "cli.py:" in lines[0]["code"]


def test_a_person_at_a_terminal_gets_a_sentence_and_what_to_do(tmp_path: Path) -> None:
    config = write_unit(tmp_path / "unit.toml", tmp_path / "data", free_port())
    done = run(MISTAKES["in the main thread"], "appliance.supervise", ["--config", str(config), "run"])
    assert done.returncode == 1
    assert not [word for word in canary.WORDS if word in done.stderr.lower()]
    first, second = done.stderr.splitlines()[-2:]
    assert first.startswith("appliance: E000: Something went wrong on this box. (KeyError at ")
    assert second.startswith("  What to do: ")


def test_the_hub_has_the_same_guard(tmp_path: Path) -> None:
    config = write_hub(tmp_path / "hub.toml", tmp_path / "hub", free_port())
    done = run(MISTAKES["in the main thread"], "appliance.hub.server", ["--config", str(config), "hub", "run"])
    assert done.returncode == 1
    assert "KeyError" in done.stderr
    assert not [word for word in canary.WORDS if word in done.stderr.lower()]
