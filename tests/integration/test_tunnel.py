"""The process `tunnel` on a real WireGuard tunnel: it comes up by itself, is helped, and what is wrong is said."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.processes import wait_for
from support.tunnel_rig import FIBRE, NAME, PORT, Rig, tunnel_rig

from appliance.link import commands
from appliance.link.commands import ToolError
from appliance.model.tunnel import Problem, TunnelFacts, TunnelState
from appliance.store_forward import tunnel_rows
from appliance.store_forward.database import open_database
from appliance.store_forward.tunnel_told import tell

pytestmark = pytest.mark.needs_root


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with tunnel_rig(tmp_path / "unit") as built:
        yield built


def await_problem(rig: Rig, problem: Problem) -> TunnelFacts:
    found: Any = wait_for(lambda: (facts := rig.facts()).problem is problem and facts, f"the problem is {problem}", 60)
    assert isinstance(found, TunnelFacts)
    return found


def test_it_comes_up_by_its_name_and_is_found_again_when_the_hub_moved(rig: Rig) -> None:
    with rig.process("tunnel", rig.config()), rig.chatter():
        up = rig.await_state("up")
        assert up.endpoint == f"10.91.9.2:{PORT}"
        assert up.public_key == rig.public("site")
        assert up.problem is Problem.NONE
        assert rig.site.run("wg", "show", rig.interface, "allowed-ips").split()[1:] == ["10.99.0.1/32"]
        rig.cut_old_place()
        rig.await_state("stale")
        rig.say_address("10.91.9.3")
        wait_for(lambda: rig.events().count(("set-endpoint", "done")) == 2, "it was found at its new place")
        rig.leave_old_place()
        assert rig.await_state("up").endpoint == f"10.91.9.3:{PORT}"
    steps = [event for event in rig.events() if event[0] != "state"]
    assert steps[:2] == [("look-up", "done"), ("set-endpoint", "done")]
    moved = steps.index(("set-endpoint", "done"), 2)
    assert steps[moved - 1] == ("look-up", "done")
    assert {name for _, name in rig.asked()} == {NAME}


@pytest.mark.parametrize("wrong", ["ours", "the hub's"])
def test_a_wrong_key_at_either_end_says_so_with_the_key_to_compare(rig: Rig, wrong: str) -> None:
    config = rig.config()
    if wrong == "ours":
        rig.expel("site")
    else:
        config = rig.config(peer=rig.public("other"))
    with rig.process("tunnel", config):
        facts = await_problem(rig, Problem.NO_ANSWER)
    told = tell(facts, config, int(time.time() * 1000))
    assert "a key is wrong" in told.said
    assert rig.public("site") in told.todo


def test_what_is_wrong_with_the_interface_is_said(rig: Rig) -> None:
    with rig.process("tunnel", rig.config()):
        rig.await_state("up")
        rig.site.ip("link", "set", rig.interface, "down")
        await_problem(rig, Problem.INTERFACE_OFF)
        rig.site.ip("link", "set", rig.interface, "up")
        rig.await_state("up")
        rig.site.ip("link", "delete", rig.interface)
        facts = await_problem(rig, Problem.NO_INTERFACE)
        assert facts.state is TunnelState.DOWN


def test_an_interface_without_a_key_is_said(rig: Rig) -> None:
    rig.site.run("wg", "set", rig.interface, "private-key", "/dev/null")
    with rig.process("tunnel", rig.config()):
        await_problem(rig, Problem.NO_KEY)


def test_a_peer_that_is_not_the_hub_of_the_file_is_left_alone(rig: Rig) -> None:
    rig.site.run("wg", "set", rig.interface, "peer", rig.public("other"), "allowed-ips", "10.99.0.0/24")
    before = rig.site.run("wg", "show", rig.interface, "dump")
    with rig.process("tunnel", rig.config()):
        await_problem(rig, Problem.OTHER_PEER)
        assert rig.site.run("wg", "show", rig.interface, "dump") == before


def test_a_name_that_is_not_there_is_said(rig: Rig) -> None:
    rig.say_address("")
    with rig.process("tunnel", rig.config()):
        await_problem(rig, Problem.NO_ADDRESS)
        rig.say_address("10.91.9.2")
        rig.await_state("up")


def test_without_the_right_to_look_the_reason_is_known(rig: Rig) -> None:
    show = ["setpriv", "--reuid", "65534", "--clear-groups", "wg", "show", rig.interface, "dump"]
    with pytest.raises(ToolError) as raised:
        commands.run(["ip", "netns", "exec", rig.site.name, *show])
    assert raised.value.problem is Problem.NO_RIGHT


def test_a_clock_before_the_last_handshake_is_said_when_the_hub_is_silent(rig: Rig) -> None:
    """A hub takes no handshake whose time is before one that it saw; to us that looks like silence."""
    rig.expel("site")
    later = int(time.time() * 1000) + 3_600_000
    row = tunnel_rows.TunnelRow(
        state=TunnelState.UP,
        since=later,
        handshake_at=later,
        endpoint="",
        public_key="",
        received=0,
        sent=0,
        problem=Problem.NONE,
        clock_set=True,
    )
    with contextlib.closing(open_database(rig.data)) as connection:
        tunnel_rows.write_tunnel(connection, row)
    with rig.process("tunnel", rig.config()):
        await_problem(rig, Problem.CLOCK_BACK)
        rig.await_state("stale")  # and not down: there was a handshake in an earlier run


def test_a_preshared_key_and_what_the_peer_may_send_outlive_a_new_handshake(rig: Rig) -> None:
    shared = rig.site.run("wg", "genpsk")
    for room, interface, end in ((rig.site, rig.interface, "hub"), (rig.hub, rig.hub_interface, "site")):
        room.run("wg", "set", interface, "peer", rig.public(end), "preshared-key", "/dev/stdin", given=shared)
    rig.site.run("wg", "set", rig.interface, "peer", rig.public("hub"), "allowed-ips", "10.99.0.0/24")
    with rig.process("tunnel", rig.config()), rig.chatter():
        rig.await_state("up")
        rig.cut(FIBRE)
        wait_for(lambda: ("rekey", "done") in rig.events(), "a new handshake was asked for")
        rig.mend(FIBRE)
        rig.await_state("up")
        line = rig.site.run("wg", "show", rig.interface, "dump").splitlines()[1].split("\t")
    assert line[1] == shared.strip()
    assert line[3] == "10.99.0.0/24"
    log = (rig.data / "tunnel.log").read_text()
    assert shared.strip() not in log + msgspec.json.encode(rig.facts()).decode()
    assert rig.keys["site"] not in log
