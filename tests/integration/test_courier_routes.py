"""The stick and the line at once: one copy, one receipt, and no byte that the hub has goes again."""

from __future__ import annotations

import pytest
from support.courier import Both
from support.fault_proxy import FaultProxy
from support.hub import RawRequest
from support.processes import wait_for

from appliance.courier import cipher

pytestmark = pytest.mark.usefixtures("looking_often")


def test_when_the_line_is_back_the_unit_hears_of_it_and_sends_no_byte(both: Both) -> None:
    both.fill(3)
    both.courier.exported()
    both.brought()
    with both.unit.forward():
        both.unit.await_delivered()
    assert both.unit.value("SELECT sum(sent_bytes) FROM parcel") == 0
    assert both.held() == 3


def test_an_upload_that_is_half_way_ends_when_the_stick_brings_its_parcel(both: Both) -> None:
    """One copy, one receipt; the client is told at its next flush, and then that the hub has all."""
    both.fill(1, size=2_000_000)
    (digest,) = both.courier.waiting()
    parcel = both.courier.waiting()[digest]
    client = both.hub.client()
    location = client.create(len(parcel), digest).headers["location"]
    body = RawRequest.patch(client, location, 0, len(parcel))
    body.send(parcel[:600_000])
    wait_for(lambda: both.hub.rows("SELECT 1 FROM parcel WHERE offset > 0"), "the first flush")
    both.courier.exported()
    assert both.brought()["verified"] == 1
    body.send(parcel[600_000 : 600_000 + (600 << 10)])
    assert body.status() == 404
    body.close()
    again = client.create(len(parcel), digest)
    assert (again.status, again.offset) == (201, len(parcel))
    assert client.verdict(digest)["verdict"] == "verified"
    assert (both.held(), len(both.hub.rows("SELECT * FROM receipt"))) == (1, 1)
    assert list((both.hub.data / "uploads").iterdir()) == []


def test_a_unit_that_is_sending_stops_when_the_stick_was_faster(both: Both) -> None:
    both.fill(1, size=3_000_000)
    both.courier.exported()
    proxy = FaultProxy(both.hub.hub.port if both.hub.hub else 0, rate=150_000)
    both.unit.url = proxy.url
    with both.unit.forward():
        wait_for(lambda: both.hub.rows("SELECT 1 FROM parcel WHERE offset > 0"), "the upload is under way")
        assert both.brought()["verified"] == 1
        both.unit.await_delivered()
    sent = both.unit.value("SELECT sum(sent_bytes) FROM parcel")
    assert sent < 1_500_000  # of three: what was sent until then, and what was in the modem
    assert (both.held(), len(both.hub.rows("SELECT * FROM receipt"))) == (1, 1)
    proxy.close()


def test_receipts_that_come_while_the_unit_sends_disturb_nothing(both: Both) -> None:
    both.fill(6, size=200_000)
    both.courier.exported()
    both.brought()
    proxy = FaultProxy(both.hub.hub.port if both.hub.hub else 0, delay=0.2)
    both.unit.url = proxy.url
    with both.unit.forward():
        wait_for(lambda: proxy.connections, "the unit speaks to the hub")
        assert both.courier.receipts().exit_code == 0
        both.unit.await_delivered()
    assert both.unit.value("SELECT count(*) FROM parcel WHERE state = 'delivered'") == 6
    assert both.unit.value("SELECT sum(sent_bytes) FROM parcel") == 0
    proxy.close()


def test_the_hub_says_its_key_in_hello_and_the_unit_remembers_it(both: Both) -> None:
    key = cipher.public_of(both.courier.hub_keys[0])
    assert both.hub.client().ask("GET", "/v1/hello").json["courier_key"] == key
    with both.unit.forward():
        both.unit.await_value(key, "SELECT hub_key FROM courier")
