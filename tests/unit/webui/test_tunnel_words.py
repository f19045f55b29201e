"""The tunnel on the page: in the strip, and under Needs help."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from flask import Flask
from support.browser import Browser
from support.ward import HOUR, MINUTE, Ward, ward_config

from appliance.config import Tunnel, Uplink
from appliance.model.tunnel import Problem, TunnelState
from appliance.store_forward import tunnel_rows
from appliance.store_forward.queue import beat
from appliance.store_forward.tunnel_rows import TunnelRow
from appliance.webui.app import create_app
from appliance.webui.tunnel_words import PROBLEMS


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    """Of a unit that looks after its tunnel."""
    tunnel = Tunnel(endpoint="hub.example.org:51820")
    app = create_app(msgspec.structs.replace(ward_config(tmp_path), tunnel=tunnel, hub=Uplink(interface="wg0")))
    app.testing = False
    return app


def tunnel(ward: Ward, **values: object) -> None:
    """A unit that is well, its tunnel as `values` say."""
    ward.beats()
    ward.line(up=True, since=ward.now - HOUR)
    beat(ward.db, "tunnel", ward.now, "up")
    tunnel_rows.set_uplinks(ward.db, ["Fibre"], ward.now - HOUR)
    tunnel_rows.use_uplink(ward.db, "Fibre", ward.now - HOUR)
    row = {
        "state": TunnelState.UP,
        "since": ward.now - HOUR,
        "handshake_at": ward.now - 2 * MINUTE,
        "endpoint": "203.0.113.5:51820",
        "public_key": "",
        "received": 0,
        "sent": 0,
        "problem": Problem.NONE,
        "clock_set": True,
    }
    tunnel_rows.write_tunnel(ward.db, TunnelRow(**(row | values)))  # type: ignore[arg-type]


def read(browser: Browser, path: str = "/") -> str:
    return browser.get(path).get_data(as_text=True)


def test_every_problem_has_its_words() -> None:
    assert set(PROBLEMS) == set(Problem) - {Problem.NONE}


def test_a_tunnel_that_works_is_in_the_strip(radiographer: Browser, ward: Ward) -> None:
    tunnel(ward)
    page = read(radiographer)
    assert "<b>Tunnel</b> up by Fibre, checked 2 min ago" in page
    assert "help-title" not in page


def test_a_missing_interface_needs_help_at_once(radiographer: Browser, ward: Ward) -> None:
    tunnel(ward, state=TunnelState.DOWN, problem=Problem.NO_INTERFACE, since=ward.now - MINUTE)
    page = read(radiographer)
    assert "<b>Tunnel</b> its interface is missing, since" in page
    assert "The tunnel to the hub does not work: its interface is missing" in page


def test_a_hub_that_is_silent_for_a_minute_needs_no_help_yet(radiographer: Browser, ward: Ward) -> None:
    tunnel(ward, state=TunnelState.STALE, problem=Problem.SILENT, since=ward.now - MINUTE)
    page = read(radiographer)
    assert "<b>Tunnel</b> no answer, since" in page
    assert "The tunnel to the hub does not work" not in page


def test_a_clock_that_nobody_set_is_said(radiographer: Browser, ward: Ward) -> None:
    tunnel(ward, clock_set=False)
    ward.line(up=False, since=ward.now - HOUR, clock_offset_ms=None)
    page = read(radiographer)
    assert "not set by a time server yet" in page
    assert "The clock of this box was not set since it started" in page


def test_an_engineer_sees_whether_somebody_looks_after_it(engineer: Browser, ward: Ward) -> None:
    tunnel(ward)
    assert "looking after the tunnel" in read(engineer, "/engineer/")


def test_what_nobody_looks_after_is_not_called_up(radiographer: Browser, ward: Ward) -> None:
    tunnel(ward)
    beat(ward.db, "tunnel", ward.now - HOUR, "up")
    page = read(radiographer)
    assert "<b>Tunnel</b> not known: nobody looks after it" in page
    assert "A part of this box has stopped: looking after the tunnel" in page


def test_before_it_was_ever_looked_at_the_page_says_so(engineer: Browser, ward: Ward) -> None:
    ward.beats()
    assert "A part of this box has stopped: looking after the tunnel" in read(engineer, "/engineer/")
    assert "<b>Tunnel</b><span><bdi>not known yet" in read(engineer, "/engineer/")
