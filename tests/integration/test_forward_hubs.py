"""Hubs that are mute, lie, refuse, forget, are full or die; files and tunnels that are gone. Nothing is lost."""

from __future__ import annotations

import hashlib
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import rows
from support.fault_proxy import Fault, FaultProxy
from support.hub import RunningHub, add_site, hub_config, running_hub
from support.launcher import Launcher
from support.processes import free_port, listens, wait_for, write_hub
from support.recording_proxy import RecordingProxy
from support.sending_unit import Packed, SendingUnit, noise

from appliance.compress.parcel import MAGIC
from appliance.errors import ConfigError

SIZE = 100_000


@pytest.fixture
def line(hub: RunningHub) -> Iterator[FaultProxy]:
    proxy = FaultProxy(hub.hub.port if hub.hub else 0)
    yield proxy
    proxy.close()


@pytest.fixture
def unit(tmp_path: Path, hub: RunningHub, line: FaultProxy) -> SendingUnit:
    return SendingUnit(tmp_path / "unit", line.url, hub.secret, {"stall_seconds": 1.0})


def one_parcel(unit: SendingUnit, study: int = 1) -> Packed:
    return unit.pack(study, [noise(study, 1, SIZE)], plain=True)


def problem(unit: SendingUnit) -> object:
    return unit.value("SELECT problem FROM link")


def test_a_mute_hub_is_waited_for_and_counts_for_nothing(unit: SendingUnit, line: FaultProxy) -> None:
    mute = [line.lay(Fault("down", 0, b"HTTP/1.1 2", what="swallow")) for _ in range(3)]
    unit.queue(one_parcel(unit))
    with unit.forward():
        unit.await_value("E501", "SELECT problem FROM link")
        assert unit.value("SELECT up FROM link") == 0
        unit.await_delivered()
        unit.await_value("", "SELECT problem FROM link")
    assert mute[0].sprung.is_set()
    assert unit.value("SELECT refusals FROM parcel") == 0


def test_a_line_that_is_down_is_asked_with_pauses_and_used_as_soon_as_it_is_back(
    unit: SendingUnit, line: FaultProxy
) -> None:
    unit.uplink["retry_seconds_max"] = 1.0
    line.go_down()
    unit.queue(one_parcel(unit))
    with unit.forward():
        unit.await_value("E501", "SELECT problem FROM link")
        since, asked = unit.value("SELECT since FROM link"), line.turned_away
        time.sleep(2.0)
        assert 1 <= line.turned_away - asked < 30
        assert unit.value("SELECT since FROM link") == since
        line.come_up()
        unit.await_delivered()
    assert unit.value("SELECT since FROM link") > since


def test_a_transfer_that_stands_still_is_cut_and_goes_on(unit: SendingUnit, line: FaultProxy) -> None:
    stalled = line.lay(Fault("up", SIZE // 2, MAGIC, what="stall"))
    unit.queue(unit.pack(1, [noise(1, 1, 6_000_000)], plain=True))
    with unit.forward():
        unit.await_delivered()
    assert stalled.sprung.is_set()


def test_a_lying_hub_delivers_nothing(unit: SendingUnit, line: FaultProxy) -> None:
    packed = one_parcel(unit)
    ours = hashlib.sha256(packed.instances[0].data).hexdigest().encode()
    line.rewrite_down = lambda data: data.replace(ours, b"0" * 64)
    parcel = unit.queue(packed)
    with unit.forward():
        unit.await_value("refused", "SELECT state FROM parcel WHERE id = ?", parcel)
        unit.await_value("E504", "SELECT problem FROM link")
    instance = unit.rows("SELECT * FROM instance")[0]
    assert (instance["state"], instance["delivered_at"], instance["hub_held_at"]) == ("received", None, None)
    assert (instance["refusals"], instance["pack_failures"]) == (1, 1)
    assert unit.rows("SELECT * FROM event WHERE kind LIKE 'delivered%'") == []


def test_the_third_lie_gives_the_instance_to_a_person(unit: SendingUnit, line: FaultProxy) -> None:
    packed = one_parcel(unit)
    ours = hashlib.sha256(packed.instances[0].data).hexdigest().encode()
    line.rewrite_down = lambda data: data.replace(ours, b"0" * 64)
    parcel = unit.queue(packed)
    with unit.database() as connection:
        connection.execute("UPDATE instance SET refusals = 2")
    with unit.forward():
        unit.await_value("refused", "SELECT state FROM parcel WHERE id = ?", parcel)
    instance = unit.rows("SELECT * FROM instance")[0]
    assert (instance["state"], instance["reason"]) == ("quarantined", "E401")
    assert [e["kind"] for e in unit.rows("SELECT * FROM event")] == ["quarantined"]
    assert packed.instances[0].sop_instance_uid


def test_a_verdict_on_another_parcel_is_none(unit: SendingUnit, line: FaultProxy) -> None:
    packed = one_parcel(unit)
    line.rewrite_down = lambda data: data.replace(
        b'{"parcel":"' + packed.parcel.digest.hex().encode()[:8], b'{"parcel":"00000000'
    )
    parcel = unit.queue(packed)
    with unit.forward():
        unit.await_value("E504", "SELECT problem FROM link")
    assert unit.value("SELECT state FROM parcel WHERE id = ?", parcel) == "uploaded"


def test_a_verdict_that_is_no_text_is_none(unit: SendingUnit, line: FaultProxy) -> None:
    line.rewrite_down = lambda data: data.replace(b'"verified"', b'"\xfferified"')
    parcel = unit.queue(one_parcel(unit))
    with unit.forward():
        unit.await_value("E504", "SELECT problem FROM link")
    assert unit.value("SELECT state FROM parcel WHERE id = ?", parcel) == "uploaded"


def test_a_hub_that_takes_all_and_then_says_that_it_lacks_some_is_not_asked_without_end(
    unit: SendingUnit, line: FaultProxy
) -> None:
    asked = 0

    def count(data: bytes) -> bytes:
        nonlocal asked
        asked += data.count(b"GET /v1/parcels/")
        return data

    line.rewrite_up = count
    line.rewrite_down = lambda data: data.replace(b'"verified"', b'"partial" ').replace(b'"checking"', b'"partial" ')
    unit.queue(one_parcel(unit))
    with unit.forward():
        unit.await_true(lambda: asked >= 2, "it is asked again")
        time.sleep(1.0)
    assert asked <= 3


def test_a_refused_unit_waits_and_uses_the_new_secret_without_a_restart(
    unit: SendingUnit, hub: RunningHub, line: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.model.retry._REFUSED_PAUSE", 0.5)
    unit.secret_file.write_text("site-1." + "A" * 43)
    unit.queue(one_parcel(unit))
    with unit.forward():
        unit.await_value("E502", "SELECT problem FROM link")
        assert unit.value("SELECT up FROM link") == 1
        unit.secret_file.write_text(hub.secret)
        unit.await_delivered()
        unit.await_value("", "SELECT problem FROM link")
    assert unit.value("SELECT refusals FROM parcel") == 0


def test_a_byte_that_changed_on_the_way_is_found_and_the_parcel_goes_again(unit: SendingUnit, line: FaultProxy) -> None:
    left = [1]

    def spoil(data: bytes) -> bytes:
        at = data.find(b"PATCH ")
        if at < 0 or len(data) < at + 1000 or not left:
            return data
        left.pop()
        return data[:-20] + bytes([data[-20] ^ 1]) + data[-19:]

    line.rewrite_up = spoil
    unit.queue(one_parcel(unit))
    with unit.forward():
        unit.await_delivered()
    assert not left
    parcel = unit.rows("SELECT * FROM parcel")[0]
    assert (parcel["state"], parcel["refusals"], parcel["refusal"]) == ("delivered", 1, "digest")
    assert unit.value("SELECT refusals FROM instance") == 0


def test_a_parcel_damaged_on_our_disk_is_packed_anew(unit: SendingUnit) -> None:
    packed = one_parcel(unit)
    with packed.path.open("r+b") as file:
        file.seek(5000)
        file.write(b"\0\0\0\0")
    parcel = unit.queue(packed)
    with unit.forward():
        unit.await_value("refused", "SELECT state FROM parcel WHERE id = ?", parcel)
    assert unit.value("SELECT state FROM instance") == "received"
    assert unit.rows("SELECT refusals, pack_failures FROM instance") == [{"refusals": 0, "pack_failures": 0}]


@pytest.mark.parametrize("size", [None, 50_000], ids=["gone", "cut short"])
def test_a_parcel_file_that_is_gone_is_packed_anew_and_the_rest_flows(
    unit: SendingUnit, hub: RunningHub, size: int | None
) -> None:
    packed = one_parcel(unit)
    if size is None:
        packed.path.unlink()
    else:
        with packed.path.open("r+b") as file:
            file.truncate(size)
    parcel, good = unit.queue(packed), unit.queue(one_parcel(unit, 2))
    with unit.forward():
        unit.await_value("refused", "SELECT state FROM parcel WHERE id = ?", parcel)
        unit.await_value("delivered", "SELECT state FROM parcel WHERE id = ?", good)
    assert unit.value("SELECT state FROM instance WHERE parcel_id = ?", parcel) == "received"
    assert hub.rows("SELECT * FROM parcel WHERE verdict = 'partial'") == [], "an upload that nobody will end was left"


def test_what_is_no_parcel_is_packed_anew_plain_and_the_rest_flows(unit: SendingUnit) -> None:
    packed = one_parcel(unit)
    rubbish = secrets.token_bytes(packed.parcel.bytes)
    packed.path.write_bytes(rubbish)
    parcel, good = unit.queue(packed), unit.queue(one_parcel(unit, 2))
    with unit.database() as connection:
        connection.execute("UPDATE parcel SET digest = ? WHERE id = ?", (hashlib.sha256(rubbish).digest(), parcel))
    with unit.forward():
        unit.await_value("refused", "SELECT state FROM parcel WHERE id = ?", parcel)
        unit.await_value("delivered", "SELECT state FROM parcel WHERE id = ?", good)
    found = unit.rows("SELECT state, refusals, pack_failures FROM instance WHERE parcel_id = ?", parcel)
    assert found == [{"state": "received", "refusals": 1, "pack_failures": 1}]


def test_a_hub_that_lacks_the_header_has_that_dictionary_withdrawn(unit: SendingUnit) -> None:
    instances = [noise(1, n, SIZE) for n in (1, 2)]
    with_dictionary = unit.pack(1, instances[1:], plain=True, dictionary=b"a header that the hub never saw" * 40)
    parcel = unit.queue(with_dictionary)
    with unit.database() as connection:
        series = connection.execute("SELECT id FROM series").fetchone()["id"]
        values = {"series_id": series, "parcel_id": parcel, "digest": b"d" * 32, "header": b"", "acknowledged_at": 1}
        rows.insert(connection, "dictionary", **values)
    with unit.forward():
        unit.await_value("refused", "SELECT state FROM parcel WHERE id = ?", parcel)
    assert unit.value("SELECT withdrawn_at IS NOT NULL FROM dictionary") == 1
    assert unit.rows("SELECT state, refusals, pack_failures FROM instance") == [
        {"state": "received", "refusals": 1, "pack_failures": 0}
    ]


def test_receipts_make_the_headers_of_their_parcel_dictionaries(unit: SendingUnit) -> None:
    parcel = unit.queue(one_parcel(unit))
    with unit.database() as connection:
        series = connection.execute("SELECT id FROM series").fetchone()["id"]
        rows.insert(connection, "dictionary", series_id=series, parcel_id=parcel, digest=b"d" * 32, header=b"")
    with unit.forward():
        unit.await_delivered()
    assert unit.value("SELECT acknowledged_at IS NOT NULL FROM dictionary") == 1


def test_a_full_hub_is_waited_for_and_said_on_the_page(tmp_path: Path) -> None:
    data, total = tmp_path / "hub", shutil.disk_usage(tmp_path).total
    full = hub_config(data, reserve_bytes=total)
    with running_hub(full) as hub:
        secret, port = hub.secret, hub.hub.port if hub.hub else 0
        unit = SendingUnit(tmp_path / "unit", hub.url, secret)
        unit.queue(one_parcel(unit))
        with unit.forward():
            unit.await_value("E503", "SELECT problem FROM link")
    with running_hub(hub_config(data, port=port), secret), unit.forward():
        unit.await_delivered()
        unit.await_value("", "SELECT problem FROM link")
    assert unit.value("SELECT refusals FROM parcel") == 0


def test_a_hub_that_forgot_gets_the_parcel_again(unit: SendingUnit) -> None:
    parcel = unit.queue(one_parcel(unit))
    with unit.database() as connection:
        connection.execute(
            "UPDATE parcel SET state = 'uploaded', hub_offset = bytes, upload_url = ? WHERE id = ?",
            ("/v1/uploads/" + "0" * 32, parcel),
        )
    with unit.forward():
        unit.await_delivered()


def test_an_upload_that_the_hub_expired_starts_anew(unit: SendingUnit) -> None:
    parcel = unit.queue(one_parcel(unit))
    with unit.database() as connection:
        connection.execute(
            "UPDATE parcel SET state = 'open', hub_offset = 5000, upload_url = ? WHERE id = ?",
            ("/v1/uploads/" + "0" * 32, parcel),
        )
    with unit.forward():
        unit.await_delivered()
    assert unit.value("SELECT sent_bytes = bytes FROM parcel") == 1


def test_a_unit_that_starts_again_goes_on_at_the_byte(tmp_path: Path, hub: RunningHub) -> None:
    witness = RecordingProxy(hub.hub.port if hub.hub else 0)
    line = FaultProxy(witness.port, rate=200_000.0)
    unit = SendingUnit(tmp_path / "unit", line.url, hub.secret)
    unit.queue(unit.pack(1, [noise(1, 1, 600_000)], plain=True))
    for part in (200_000, 400_000):
        with unit.forward():
            unit.await_true(lambda part=part: line.bytes_up > part, "a part has gone")  # type: ignore[misc]
    line.rate = None
    with unit.forward():
        unit.await_delivered()
    assert witness.seen.sent_again == []
    assert len(line.bodies) == 3
    line.close()
    witness.close()


def test_a_hub_that_is_killed_while_it_receives_gets_the_rest(tmp_path: Path) -> None:
    config = hub_config(tmp_path / "hub")
    secret, port = add_site(config), free_port()
    file = write_hub(tmp_path / "hub.toml", tmp_path / "hub", port)
    witness = RecordingProxy(port)
    line = FaultProxy(witness.port, rate=300_000.0)
    unit = SendingUnit(tmp_path / "unit", line.url, secret)
    unit.queue(unit.pack(1, [noise(1, 1, 900_000)], plain=True))
    with Launcher(tmp_path / "logs", ["hub"]) as launcher, unit.forward():
        for part in (150_000, 400_000, 650_000):
            hub = launcher.start("hub", file)
            wait_for(lambda: listens(port), "the hub listens")
            unit.await_true(lambda part=part: line.bytes_up > part, "a part has gone")  # type: ignore[misc]
            hub.kill()
        line.rate = None
        launcher.start("hub", file)
        unit.await_delivered()
    assert witness.seen.sent_again == []
    assert unit.value("SELECT refusals FROM parcel") == 0
    line.close()
    witness.close()


def test_without_its_tunnel_the_unit_sends_nothing_at_all(unit: SendingUnit, line: FaultProxy) -> None:
    unit.uplink["interface"] = "wg-gone"
    unit.queue(one_parcel(unit))
    with unit.forward():
        unit.await_value("E501", "SELECT problem FROM link")
        time.sleep(0.5)
    assert line.connections == 0
    unit.uplink["interface"] = "lo"
    with unit.forward():
        unit.await_delivered()


def test_a_hub_outside_of_the_tunnel_stops_the_start(unit: SendingUnit) -> None:
    unit.url = "http://192.0.2.1:8090"
    with pytest.raises(ConfigError), unit.forward():
        time.sleep(0.2)


def test_a_redirect_is_not_followed(unit: SendingUnit, line: FaultProxy) -> None:
    elsewhere = FaultProxy(1)
    moved = b"HTTP/1.1 307 Moved\r\nLocation: " + elsewhere.url.encode() + b"/\r\n"
    line.rewrite_down = lambda data: data.replace(b"HTTP/1.1 201 Created\r\n", moved)
    unit.queue(one_parcel(unit))
    with unit.forward():
        unit.await_value("ready", "SELECT status FROM process WHERE name = 'forward'")
        time.sleep(1.0)
        assert unit.value("SELECT state FROM parcel") == "built"
        line.rewrite_down = bytes
        line.cut_all()
        unit.await_delivered()
    assert elsewhere.connections == 0
    elsewhere.close()
