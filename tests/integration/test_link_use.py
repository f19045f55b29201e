"""On a line that carries little a cap holds, stat overtakes at once, and no small request is behind a body."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.narrow_line import DEVICE, Narrow, narrow_line
from support.sending_unit import SendingUnit, noise

from appliance.clock import now_ms
from appliance.config import Link, Uplink
from appliance.link.tunnel import find_way
from appliance.model.priority import Priority
from appliance.store_forward import link_use
from appliance.store_forward.actions import Actor
from appliance.store_forward.database import transaction
from appliance.store_forward.transport import HubClient
from appliance.upload.client import Request

pytestmark = pytest.mark.needs_root
KBIT = 64
TUNNEL_BYTES = 68  # what WireGuard adds to a packet: 20 + 8 + 32, and on average 8 of padding
GRACE = Actor(name="Grace", role="shell")


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Narrow]:
    with narrow_line(tmp_path) as narrow, narrow.watched():
        yield narrow


@pytest.fixture
def unit(tmp_path: Path, line: Narrow) -> SendingUnit:
    return SendingUnit(tmp_path / "unit", line.url, line.secret, {"interface": DEVICE, "stall_seconds": 10.0})


def carried(line: Narrow, start: float, end: float) -> int:
    """Bytes that left, as the uplink of a tunnel would have carried them."""
    return sum(len(p.data) + TUNNEL_BYTES for p in list(line.packets) if p.leaves and start <= p.at < end)


def test_at_64_kbit_a_stat_study_overtakes_at_once_and_an_answer_comes_within_two_seconds(
    unit: SendingUnit, line: Narrow
) -> None:
    unit.add_parcel(1, [noise(1, 1, 400_000)], plain=True)
    packed = unit.pack(2, [noise(2, 1, 12_000)], plain=True, priority=Priority.STAT)
    line.shape(KBIT)
    with unit.forward():
        unit.await_true(lambda: carried(line, 0, time.monotonic()) > 40_000, "the line is full")
        asked = [_ask(line) for _ in range(3)]
        routine = next(p.port for p in reversed(line.packets) if p.leaves and len(p.data) > 1000)
        queued_at = time.monotonic()
        stat = unit.queue(packed)
        unit.await_value(1, "SELECT state IN ('uploaded', 'delivered') FROM parcel WHERE id = ?", stat)
    target = str(unit.value("SELECT upload_url FROM parcel WHERE id = ?", stat)).encode()
    begun = line.seen(b"PATCH " + target, queued_at)
    assert begun is not None
    last = max(p.at for p in line.packets if p.leaves and p.port == routine and len(p.data) > 1000 and p.at < begun)
    # The rest of the routine study takes 40 s. On a quiet machine both are under a second.
    assert last - queued_at < 10.0, f"the routine study left the line only after {last - queued_at:.2f} s"
    assert begun - queued_at < 10.0, f"the stat study began to go after {begun - queued_at:.2f} s"
    there = line.seen(b"PATCH ", begun + 0.1) or float("inf")  # the routine study goes on
    assert there - begun > 12_000 * 0.7 / (KBIT * 125), "the stat study had the line for itself"
    assert min(asked) < 2.0, f"a new connection and an answer took {asked} s"


def _ask(line: Narrow) -> float:
    """Seconds until the hub's answer to a small request over a connection of its own."""

    async def ask() -> None:
        uplink = Uplink(url=line.url, interface=DEVICE)
        hub = HubClient(find_way(uplink), uplink, line.secret)
        try:
            await hub.ask(Request(method="GET", target="/v1/hello", headers={}), seconds=10.0)
        finally:
            await hub.close()

    started = time.monotonic()
    asyncio.run(ask())
    return time.monotonic() - started


def test_a_cap_holds_within_a_twentieth_and_what_went_is_counted(unit: SendingUnit, line: Narrow) -> None:
    kbit = 256
    unit.link = Link(rate_kbit=kbit)
    unit.add_parcel(1, [noise(1, 1, 600_000)], plain=True)
    with unit.forward():
        unit.await_true(lambda: carried(line, 0, time.monotonic()) > 20_000, "it goes")
        start = time.monotonic()
        unit.await_true(lambda: time.monotonic() > start + 12.0, "twelve seconds")
    for begin in (start, start + 1, start + 2):
        rate = carried(line, begin, begin + 10.0) / 10.0 / 125
        assert rate == pytest.approx(kbit, rel=0.05), f"{rate:.0f} kbit/s over ten seconds"
    both = sum(len(p.data) + TUNNEL_BYTES for p in line.packets)
    assert unit.value("SELECT bytes FROM uplink_usage") == pytest.approx(both, rel=0.05)


def test_a_pause_stops_a_body_and_what_was_there_goes_on_at_its_byte(unit: SendingUnit, line: Narrow) -> None:
    parcel = unit.add_parcel(1, [noise(1, 1, 300_000)], plain=True)
    line.shape(512)
    with unit.forward():
        unit.await_true(lambda: carried(line, 0, time.monotonic()) > 60_000, "it goes")
        with unit.database() as connection, transaction(connection):
            link_use.pause(connection, GRACE, now_ms(), until=None, stat_too=False)
        unit.await_value("[1, 2, 3]", "SELECT held FROM link")
        unit.await_value("ready", "SELECT status FROM process WHERE name = 'forward'")
        offset = unit.value("SELECT hub_offset FROM parcel WHERE id = ?", parcel)
        assert 0 < offset < 300_000
        stat = unit.add_parcel(2, [noise(2, 1, 5_000)], plain=True, priority=Priority.STAT)
        unit.await_value("delivered", "SELECT state FROM parcel WHERE id = ?", stat)
        assert unit.value("SELECT hub_offset FROM parcel WHERE id = ?", parcel) == offset
        with unit.database() as connection, transaction(connection):
            link_use.resume(connection, GRACE, now_ms())
        unit.await_delivered()
    row = unit.rows("SELECT sent_bytes, bytes FROM parcel WHERE id = ?", parcel)[0]
    assert row["sent_bytes"] == row["bytes"], "no byte went twice"
    assert unit.value("SELECT stat_bytes FROM uplink_usage") > 5_000


def test_previews_of_all_studies_go_before_the_rest_of_any(unit: SendingUnit, line: Narrow) -> None:
    parcels = [unit.add_parcel(number, [noise(number, 1, 60_000)], plain=True) for number in (1, 2, 3)]
    with unit.database() as connection:
        connection.execute("UPDATE parcel SET preview_bytes = 6000")
    line.shape(256)
    with unit.forward():
        unit.await_delivered()
    for parcel in parcels:
        upload = str(unit.value("SELECT upload_url FROM parcel WHERE id = ?", parcel)).encode()
        opened = line.seen(upload, 0.0, leaves=False)  # the hub's answer: from here on its preview may go
        assert opened is not None
        begun = line.seen(b"PATCH " + upload, opened)
        assert begun is not None
        # Without lanes the last preview would wait for two whole parcels, 114,000 bytes.
        assert carried(line, opened, begun) < 80_000, "the rest of another went before this preview"
    for row in unit.rows("SELECT sent_bytes, bytes FROM parcel"):
        assert row["sent_bytes"] == row["bytes"], "no byte went twice"


def test_what_the_hub_has_enough_of_leaves_the_line_at_once(unit: SendingUnit, line: Narrow) -> None:
    parcel = unit.add_parcel(1, [noise(1, 1, 300_000)], plain=True)
    line.shape(512)
    with unit.forward():
        unit.await_true(lambda: carried(line, 0, time.monotonic()) > 60_000, "it goes")
        with unit.database() as connection:
            connection.execute("UPDATE parcel SET held_at = 1 WHERE id = ?", (parcel,))
        unit.await_value("ready", "SELECT status FROM process WHERE name = 'forward'")
        assert unit.value("SELECT hub_offset FROM parcel WHERE id = ?", parcel) < 300_000
        with unit.database() as connection:
            connection.execute("UPDATE parcel SET held_at = NULL WHERE id = ?", (parcel,))
        unit.await_delivered()


def test_after_an_outage_a_body_goes_on_before_tcp_would_try_again(unit: SendingUnit, line: Narrow) -> None:
    parcel = unit.add_parcel(1, [noise(1, 1, 400_000)], plain=True)
    unit.uplink["stall_seconds"] = 60.0
    line.shape(512)
    with unit.forward():
        unit.await_true(lambda: carried(line, 0, time.monotonic()) > 200_000, "half of it has gone")
        with line.cut():
            cut_until = time.monotonic() + 12.0  # TCP by itself tries again after about 11 s, and then after 22 s
            unit.await_true(lambda: time.monotonic() > cut_until, "twelve seconds")
        back = time.monotonic()
        unit.await_delivered()
    upload = str(unit.value("SELECT upload_url FROM parcel WHERE id = ?", parcel)).encode()
    again = line.seen(b"PATCH " + upload, back)
    assert again is not None, "it waited for the kernel, which goes on in the old request"
    row = unit.rows("SELECT sent_bytes, bytes FROM parcel WHERE id = ?", parcel)[0]
    assert row["sent_bytes"] - row["bytes"] < 150_000, "it went on where it was: what had gone did not go twice"
