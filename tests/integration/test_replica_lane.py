"""The replica's bytes go only while no study wants the line, arrive whole, and never hold a study up."""

from __future__ import annotations

import random
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from support.fault_proxy import FaultProxy
from support.hub import RunningHub
from support.processes import free_port
from support.sending_unit import SendingUnit, noise

from appliance.clock import now_ms
from appliance.config import Link
from appliance.model.priority import Priority
from appliance.store_forward import link_use
from appliance.store_forward.actions import Actor
from appliance.store_forward.database import transaction
from appliance.store_forward.replica_lane import CONNECTIONS_MAX

SLOW = 64_000.0  # bytes a second


class Replica:
    """What listens at the hub: keeps what comes, and answers with how much that was when it ends."""

    def __init__(self) -> None:
        self.got = bytearray()
        self.times: list[float] = []
        replica = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                while data := self.request.recv(65_536):
                    replica.times.append(time.monotonic())
                    replica.got += data
                self.request.sendall(b"%d" % len(replica.got))

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def replica() -> Iterator[Replica]:
    with closing(Replica()) as made:
        yield made


@pytest.fixture
def slow_line(hub: RunningHub) -> Iterator[FaultProxy]:
    proxy = FaultProxy(hub.hub.port if hub.hub else 0, rate=SLOW)
    yield proxy
    proxy.close()


@pytest.fixture
def unit(tmp_path: Path, hub: RunningHub, slow_line: FaultProxy, replica: Replica) -> SendingUnit:
    made = SendingUnit(tmp_path / "unit", slow_line.url, hub.secret, {"stall_seconds": 10.0})
    made.link = Link(replica_port=free_port(), replica_hub_port=replica.port)
    return made


def connect(unit: SendingUnit) -> socket.socket:
    """As the replication does."""
    found: list[socket.socket] = []

    def tried() -> bool:
        try:
            found.append(socket.create_connection(("127.0.0.1", unit.link.replica_port), 2.0))
        except OSError:
            return False
        return True

    unit.await_true(tried, "the lane listens")
    found[0].settimeout(30.0)
    return found[0]


def test_it_waits_for_a_study_and_then_all_of_it_arrives_both_ways(unit: SendingUnit, replica: Replica) -> None:
    parcel = unit.add_parcel(1, [noise(1, 1, 200_000)], plain=True)
    data = random.Random(1).randbytes(100_000)
    with unit.forward():
        unit.await_true(lambda: bool(unit.value("SELECT progress > 0 FROM parcel")), "the study is on the line")
        with connect(unit) as near:
            near.sendall(data)
            near.shutdown(socket.SHUT_WR)
            unit.await_value("delivered", "SELECT state FROM parcel WHERE id = ?", parcel)
            assert near.recv(100) == b"100000"
    assert bytes(replica.got) == data
    uploaded = unit.value("SELECT uploaded_at FROM parcel WHERE id = ?", parcel) / 1000 - time.time() + time.monotonic()
    assert min(replica.times) > uploaded - 0.2, "not a byte before the study was through"


def test_a_study_that_comes_in_stops_it_at_once(unit: SendingUnit, replica: Replica) -> None:
    data = random.Random(2).randbytes(400_000)
    packed = unit.pack(2, [noise(2, 1, 100_000)], plain=True)
    unit.add_parcel(1, [noise(1, 1, 50_000)], plain=True)  # the rate is measured by it
    with unit.forward():
        unit.await_delivered()
        with connect(unit) as near:
            threading.Thread(target=near.sendall, args=(data,), daemon=True).start()
            unit.await_true(lambda: len(replica.got) > 20_000, "the replica has the line")
            parcel = unit.queue(packed)
            unit.await_true(
                lambda: bool(unit.value("SELECT progress > 0 FROM parcel WHERE id = ?", parcel)), "the study goes"
            )
            started = time.monotonic()
            unit.await_value(1, "SELECT state IN ('uploaded', 'delivered') FROM parcel WHERE id = ?", parcel)
            ended = time.monotonic()
            meanwhile = [at for at in replica.times if started + 0.2 < at < ended]
            unit.await_true(lambda: bytes(replica.got) == data, "and all of it arrives in the end")
    assert meanwhile == []


def test_a_pause_holds_it_too(unit: SendingUnit, replica: Replica) -> None:
    grace = Actor(name="Grace", role="shell")
    with unit.forward(), connect(unit) as near:
        with unit.database() as connection, transaction(connection):
            link_use.pause(connection, grace, now_ms(), until=None, stat_too=False)
        unit.await_value("[1, 2, 3]", "SELECT held FROM link")
        had = len(replica.got)
        near.sendall(b"x" * 1000)
        stat = unit.add_parcel(1, [noise(1, 1, 5_000)], plain=True, priority=Priority.STAT)
        unit.await_value("delivered", "SELECT state FROM parcel WHERE id = ?", stat)
        assert len(replica.got) == had
        with unit.database() as connection, transaction(connection):
            link_use.resume(connection, grace, now_ms())
        unit.await_true(lambda: len(replica.got) == had + 1000, "it goes on")


def test_more_connections_than_a_replication_needs_are_shut(unit: SendingUnit) -> None:
    with unit.forward():
        held = [connect(unit) for _ in range(CONNECTIONS_MAX)]
        unit.await_true(lambda: _is_shut(connect(unit)), "one more is shut")
        for one in held:
            one.close()
        unit.await_true(lambda: not _is_shut(connect(unit)), "and there is room again")


def _is_shut(near: socket.socket) -> bool:
    with near:
        near.settimeout(0.5)
        try:
            return near.recv(1) == b""
        except TimeoutError:
            return False
        except OSError:
            return True


def test_it_is_reached_from_this_box_alone(unit: SendingUnit) -> None:
    with unit.forward():
        connect(unit).close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", unit.link.replica_port), 2.0)  # as any address but the one


def test_a_hub_that_listens_to_no_replica_ends_the_connection_and_studies_go(unit: SendingUnit) -> None:
    unit.link = Link(replica_port=unit.link.replica_port, replica_hub_port=free_port())
    with unit.forward():
        with connect(unit) as near:
            assert near.recv(1) == b""
        unit.add_parcel(1, [noise(1, 1, 5_000)], plain=True)
        unit.await_delivered()


def test_a_port_that_another_program_has_holds_no_study_up(unit: SendingUnit) -> None:
    with socket.create_server(("127.0.0.1", unit.link.replica_port)):
        unit.add_parcel(1, [noise(1, 1, 5_000)], plain=True)
        with unit.forward():
            unit.await_delivered()
