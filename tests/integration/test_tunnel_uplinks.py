"""Two uplinks: the tunnel goes by the first that works, a transfer goes on, and the better one is tried again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.processes import wait_for
from support.sending_unit import SendingUnit, noise
from support.tunnel_rig import FIBRE, HUB, SIM, Rig, tunnel_rig

pytestmark = pytest.mark.needs_root

BY_FIBRE, BY_SIM = "10.91.1.2", "10.91.2.2"
MIB = 1 << 20


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with tunnel_rig(tmp_path / "unit") as built:
        yield built


def comes_from(rig: Rig) -> str:
    """The address that the hub's end of the tunnel sends to."""
    return rig.hub.run("wg", "show", rig.hub_interface, "endpoints").split()[1].rpartition(":")[0]


def await_uplink(rig: Rig, name: str) -> None:
    wait_for(lambda: (f := rig.facts()).uplink == name and f.state == "up", f"the tunnel is up by {name}", 60)


def test_a_transfer_goes_on_by_the_next_uplink_and_comes_back_to_the_better_one(rig: Rig) -> None:
    """Beyond the modem the fibre is dead: its cable looks as before, so only silence tells."""
    for name in (FIBRE, SIM):
        rig.slow(name, "4mbit")
    with rig.hub_process() as secret:
        unit = SendingUnit(rig.data, f"http://{HUB}:8090", secret)
        unit.add_parcel(1, [noise(1, 1, 3 * MIB)], plain=True)
        config = rig.config(uplinks=(FIBRE, SIM), hub={"secret_file": str(unit.secret_file)})
        with rig.process("tunnel", config):
            await_uplink(rig, FIBRE)
            with rig.process("forward", config):
                wait_for(lambda: unit.value("SELECT progress FROM parcel") > MIB // 2, "a sixth is there")
                assert comes_from(rig) == BY_FIBRE
                rig.cut(FIBRE)
                await_uplink(rig, SIM)
                assert comes_from(rig) == BY_SIM
                assert unit.value("SELECT state FROM parcel") == "open", "the transfer is under way"
                unit.await_delivered()
                sent, size = unit.rows("SELECT sent_bytes, bytes FROM parcel")[0].values()
                assert sent - size < MIB // 2, "it went on where it was: what had gone did not go twice"
                rig.mend(FIBRE)
                await_uplink(rig, FIBRE)
                assert comes_from(rig) == BY_FIBRE
    assert ("next-uplink", "done") in rig.events()
    assert rig.events()[-1] == ("better-uplink", "done")


def test_a_cable_that_is_pulled_out_is_left_at_once_and_a_dead_line_is_not_gone_back_to(rig: Rig) -> None:
    with rig.process("tunnel", rig.config(uplinks=(FIBRE, SIM), silent_seconds=60.0)), rig.chatter():
        await_uplink(rig, FIBRE)
        rig.net.ip("link", "set", f"n{FIBRE}", "down")
        await_uplink(rig, SIM)
        helped = [event for event in rig.events() if event[0] in {"rekey", "next-uplink"}]
        assert helped == [("next-uplink", "done")], "nothing else was tried first, and no silence waited for"
        rig.cut(FIBRE)
        rig.net.ip("link", "set", f"n{FIBRE}", "up")
        wait_for(lambda: ("better-uplink", "failed") in rig.events(), "the better one was tried", 60)
        assert rig.facts().uplink == SIM
        assert rig.facts().state == "up", "to try it did not disturb the tunnel"
        assert comes_from(rig) == BY_SIM


def test_the_hubs_name_is_asked_for_by_the_uplink_in_use(rig: Rig) -> None:
    rig.cut(FIBRE)
    with rig.process("tunnel", rig.config(uplinks=(FIBRE, SIM))):
        await_uplink(rig, SIM)
    assert {asker for asker, _ in rig.asked()} == {BY_SIM}
