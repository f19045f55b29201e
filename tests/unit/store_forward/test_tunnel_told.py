"""What `status` and `doctor` say of the tunnel: what is wrong, since when, what to do."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from support import rows as plain_rows

from appliance.config import Link, LinkUplink, Tunnel, UnitConfig, Uplink, load_unit
from appliance.model.tunnel import NEEDS_PERSON, Outcome, Problem, Step, TunnelFacts, TunnelState
from appliance.store_forward import doctor, tunnel_rows
from appliance.store_forward.database import open_database, transaction
from appliance.store_forward.doctor import Check, Level
from appliance.store_forward.status import processes_of, read_status
from appliance.store_forward.tunnel_rows import TunnelRow
from appliance.store_forward.tunnel_told import OUTCOMES, PROBLEMS, STEPS, tell
from appliance.words import status_lines

NOW = 1_795_000_000_000
MINUTE = 60_000
KEY = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
CONFIG = UnitConfig(
    hub=Uplink(interface="wg0"),
    tunnel=Tunnel(endpoint="hub.example.org:51820", peer=KEY),
    link=Link(uplinks=(LinkUplink(name="Fibre", device="eth1"),)),
)


def test_every_problem_step_and_outcome_has_its_words() -> None:
    assert set(PROBLEMS) == set(Problem) - {Problem.NONE}
    assert set(STEPS) == set(Step)
    assert set(OUTCOMES) == set(Outcome)


@pytest.mark.parametrize("problem", sorted(set(Problem) - {Problem.NONE}))
def test_a_problem_is_told_with_what_to_do_and_no_gap_is_left(problem: Problem) -> None:
    facts = TunnelFacts(state=TunnelState.DOWN, since=NOW - MINUTE, problem=problem)
    told = tell(facts, CONFIG, NOW)
    assert told.said
    assert told.todo
    assert not {"{", "}"} & set(told.said + told.todo)
    assert told.pressing is (problem in NEEDS_PERSON)


def test_a_wrong_key_is_told_with_the_key_that_the_hub_must_know() -> None:
    facts = TunnelFacts(since=NOW, problem=Problem.NO_ANSWER, public_key=KEY)
    assert KEY in tell(facts, CONFIG, NOW).todo


def test_a_tunnel_that_works_says_by_what_and_when_it_was_seen() -> None:
    facts = TunnelFacts(state=TunnelState.UP, since=NOW - MINUTE, handshake_at=NOW - 40_000, uplink="Fibre")
    told = tell(facts, CONFIG, NOW)
    assert told.well
    assert told.said == "up by Fibre; last handshake 40 s ago"


def test_what_the_watchdog_did_is_told() -> None:
    facts = TunnelFacts(
        state=TunnelState.STALE,
        since=NOW - MINUTE,
        handshake_at=NOW - 4 * MINUTE,
        uplink="SIM",
        problem=Problem.SILENT,
        step=Step.REKEY,
        step_at=NOW - 12_000,
        step_outcome=Outcome.DONE,
    )
    said = tell(facts, CONFIG, NOW).said
    assert said == (
        "stale by SIM: the hub answers no more; last handshake 4 min ago; 12 s ago it asked for a new handshake (done)"
    )


ROW = TunnelRow(
    state=TunnelState.UP,
    since=NOW - MINUTE,
    handshake_at=NOW - 40_000,
    endpoint="203.0.113.5:51820",
    public_key=KEY,
    received=1,
    sent=2,
    problem=Problem.NONE,
    clock_set=True,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "unit.toml"
    (tmp_path / "data").mkdir()
    file.write_text(
        f'[storage]\ndata = "{tmp_path}/data"\n[hub]\nurl = "http://10.7.0.1:8090"\ninterface = "wg0"\n'
        f'[tunnel]\nendpoint = "hub.example.org:51820"\npeer = "{KEY}"\n'
        '[[link.uplinks]]\nname = "Fibre"\ndevice = "eth1"\n[[link.uplinks]]\nname = "SIM"\ndevice = "wwan0"\n'
    )
    return file


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    opened = open_database(path.parent / "data")
    for name in processes_of(load_unit(path)):
        plain_rows.add_process(opened, name, beat_at=NOW - 1000, started_at=NOW - MINUTE)
    tunnel_rows.set_uplinks(opened, ["Fibre", "SIM"], NOW - MINUTE)
    tunnel_rows.use_uplink(opened, "SIM", NOW - MINUTE)
    tunnel_rows.write_tunnel(opened, ROW)
    yield opened
    opened.close()


def examine(path: Path) -> dict[str, Check]:
    return {check.name: check for check in doctor.examine(path, NOW)}


def test_doctor_and_status_show_a_tunnel_that_works(path: Path, connection: sqlite3.Connection) -> None:
    checks = examine(path)
    assert [checks[name].level for name in ("tunnel", "tunnel to the hub", "time server")] == [Level.OK] * 3
    config = load_unit(path)
    facts = read_status(config, NOW)
    assert facts.tunnel is not None
    assert facts.tunnel.uplink == "SIM"
    assert "tunnel    up by SIM; last handshake 40 s ago" in status_lines(facts, config)


def test_doctor_fails_for_what_does_not_mend_itself(path: Path, connection: sqlite3.Connection) -> None:
    down = msgspec.structs.replace(ROW, state=TunnelState.DOWN, problem=Problem.NO_INTERFACE)
    tunnel_rows.write_tunnel(connection, down)
    check = examine(path)["tunnel to the hub"]
    assert check.level is Level.FAILING
    assert "there is no interface wg0" in check.said
    assert "wg-quick@wg0" in check.todo
    tunnel_rows.write_tunnel(connection, msgspec.structs.replace(down, problem=Problem.SILENT))
    assert examine(path)["tunnel to the hub"].level is Level.WARNING


def test_doctor_warns_of_a_clock_that_nobody_set_until_the_hub_was_heard(
    path: Path, connection: sqlite3.Connection
) -> None:
    tunnel_rows.write_tunnel(connection, msgspec.structs.replace(ROW, clock_set=False))
    assert examine(path)["time server"].level is Level.WARNING
    plain_rows.set_line(connection, clock_offset_ms=120)
    assert examine(path)["time server"].level is Level.OK


def test_what_nobody_looks_after_is_not_called_up(path: Path, connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE process SET beat_at = ? WHERE name = 'tunnel'", (NOW - 60_000,))
    checks = examine(path)
    assert checks["tunnel"].level is Level.FAILING
    assert checks["tunnel to the hub"].level is Level.WARNING
    assert "not known: nobody looks after it. It was up by SIM" in checks["tunnel to the hub"].said


def test_doctor_says_that_nobody_looks_after_the_tunnel(path: Path, connection: sqlite3.Connection) -> None:
    connection.execute("DELETE FROM process WHERE name = 'tunnel'")
    connection.execute("DELETE FROM tunnel")
    checks = examine(path)
    assert checks["tunnel"].level is Level.FAILING
    assert "appliance tunnel" in checks["tunnel to the hub"].todo


def test_one_uplink_is_in_use_and_what_is_known_of_the_others_stays(connection: sqlite3.Connection) -> None:
    with transaction(connection):
        tunnel_rows.write_uplink(connection, "Fibre", NOW - 5, "")
        tunnel_rows.set_uplinks(connection, ["VSAT", "Fibre"], NOW)
        tunnel_rows.use_uplink(connection, "Fibre", NOW)
    first, second = tunnel_rows.read_uplinks(connection)
    assert (first.name, first.place, first.in_use) == ("VSAT", 0, False)
    assert (second.name, second.place, second.in_use, second.worked_at) == ("Fibre", 1, True, NOW - 5)


def test_the_newest_thousand_events_are_kept(connection: sqlite3.Connection) -> None:
    with transaction(connection):
        for at in range(1100):
            tunnel_rows.add_event(connection, at, "rekey", "done")
    assert connection.execute("SELECT count(*), min(at) FROM tunnel_event").fetchone()[:] == (1000, 100)


def test_a_handshake_once_known_is_not_forgotten(connection: sqlite3.Connection) -> None:
    tunnel_rows.write_tunnel(connection, msgspec.structs.replace(ROW, handshake_at=None))
    assert tunnel_rows.read_handshake(connection) == NOW - 40_000
