"""Commands to the kernel: a bounded time, and a word for each way in which they may fail."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from appliance.link import commands
from appliance.link.commands import ToolError, has_carrier, run
from appliance.model.tunnel import Problem


def problem_of(*words: str, seconds: float = 5.0) -> tuple[Problem, str]:
    with pytest.raises(ToolError) as raised:
        run(list(words), seconds=seconds)
    return raised.value.problem, str(raised.value)


def test_a_tool_that_is_not_installed_is_said_by_its_name() -> None:
    assert problem_of("wg-of-nowhere") == (Problem.NO_TOOL, "wg-of-nowhere is not installed")


def test_a_tool_that_hangs_is_ended() -> None:
    began = time.monotonic()
    assert problem_of("sleep", "60", seconds=0.2)[0] is Problem.TOOL_FAILS
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ("RTNETLINK answers: Operation not permitted", Problem.NO_RIGHT),
        ("Unable to access interface: No such device", Problem.NO_INTERFACE),
        ('Cannot find device "wwan0"', Problem.NO_INTERFACE),
        ("something new", Problem.TOOL_FAILS),
    ],
)
def test_what_a_tool_says_becomes_a_word(said: str, problem: Problem) -> None:
    found, message = problem_of("sh", "-c", f"echo '{said}' >&2; exit 1")
    assert found is problem
    assert said in message


def test_what_is_given_is_its_input_and_nothing_is_a_shell_word() -> None:
    assert run(["cat"], given="secret") == "secret"
    assert run(["printf", "%s", "$(id); `id`"]) == "$(id); `id`"


def test_an_interface_that_is_not_there_is_not_asked_for() -> None:
    with pytest.raises(ToolError, match="there is no interface nowhere0") as raised:
        commands.read_interface("nowhere0")
    assert raised.value.problem is Problem.NO_INTERFACE


def test_a_carrier_is_read_from_the_system(tmp_path: Path) -> None:
    for name, text in (("eth0", "1\n"), ("eth1", "0\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "carrier").write_text(text)
    assert [has_carrier(name, tmp_path) for name in ("eth0", "eth1", "eth2")] == [True, False, False]
