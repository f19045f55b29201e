"""When a tunnel needs a person, and what the list says of it."""

from __future__ import annotations

import msgspec
import pytest

from appliance.model.help import PROCESSES, BoxFacts, Disk, HelpKind, help_list
from appliance.model.status import LineFacts
from appliance.model.tunnel import LONG_SILENT_MS, NEEDS_PERSON, Problem, TunnelFacts, TunnelState

NOW = 1_795_492_800_000
DOWN = TunnelFacts(state=TunnelState.DOWN, since=NOW - 1000)
UP = TunnelFacts(state=TunnelState.UP, since=NOW - 1000, handshake_at=NOW - 500)


def kinds(tunnel: TunnelFacts | None, *, beats: dict[str, int] | None = None, offset: int | None = 0) -> list[HelpKind]:
    alive = dict.fromkeys([*PROCESSES, "tunnel"], NOW)
    line = LineFacts(up=True, since=NOW, hub_seen_at=NOW, clock_offset_ms=offset)
    box = BoxFacts(line=line, disk=Disk(10**12, 10**12, 1), beats=alive if beats is None else beats, tunnel=tunnel)
    return [item.kind for item in help_list(box, NOW)]


def test_a_unit_without_a_tunnel_of_its_own_has_nothing_to_say_of_it() -> None:
    assert kinds(None, beats=dict.fromkeys(PROCESSES, NOW)) == []


def test_a_tunnel_that_is_up_needs_nobody() -> None:
    assert kinds(UP) == []


@pytest.mark.parametrize("problem", sorted(NEEDS_PERSON))
def test_what_does_not_mend_itself_is_told_at_once(problem: Problem) -> None:
    assert kinds(msgspec.structs.replace(DOWN, problem=problem)) == [HelpKind.TUNNEL]


@pytest.mark.parametrize("problem", sorted(set(Problem) - NEEDS_PERSON - {Problem.NONE}))
def test_what_may_mend_itself_is_told_after_ten_minutes(problem: Problem) -> None:
    young = msgspec.structs.replace(DOWN, problem=problem)
    assert kinds(young) == []
    assert kinds(msgspec.structs.replace(young, since=NOW - LONG_SILENT_MS - 1)) == [HelpKind.TUNNEL]


def test_nobody_who_looks_after_it_is_told() -> None:
    assert kinds(TunnelFacts(), beats=dict.fromkeys(PROCESSES, NOW)) == [HelpKind.PROCESS_SILENT]


def test_a_clock_that_nobody_set_is_told_until_it_agrees_with_the_hub() -> None:
    unset = msgspec.structs.replace(UP, clock_set=False)
    assert kinds(unset, offset=None) == [HelpKind.CLOCK_NOT_SET]
    assert kinds(unset, offset=200) == []
