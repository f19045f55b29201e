"""The pause, and what holds studies back, on the page: in words, with a time, and undone with a button."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from support.browser import Browser
from support.ward import HOUR, Ward, ward_config

from appliance.config import Link, LinkUplink, LinkWindow
from appliance.link.allowance import month_of
from appliance.store_forward.database import transaction
from appliance.store_forward.link_use import rules_in
from appliance.webui.app import create_app


def text_of(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split()).replace("\u00a0", " ")


def read(browser: Browser, path: str = "/") -> str:
    answer = browser.get(path)
    assert answer.status_code == 200
    return text_of(answer.get_data(as_text=True))


@pytest.fixture
def waiting(ward: Ward) -> Ward:
    """A line that is up, and a study that waits."""
    ward.beats()
    ward.line(up=True, since=ward.now - HOUR, held="[1, 2, 3]")
    ward.study("A", "1", settle_ms=1, came=ward.now - HOUR)
    return ward


def test_a_radiographer_pauses_and_resumes_and_the_page_says_who_did_and_until_when(
    radiographer: Browser, waiting: Ward
) -> None:
    assert radiographer.post("/pause", **{"for": "4"}).status_code == 302
    page = read(radiographer)
    assert re.search(r"Paused by Esther until \d\d:\d\d\. These still go: Stat\.", page)
    assert "Only the most urgent studies go now. 1 study is safe on this box and will go by itself." in page
    assert "Paused by Esther" in read(radiographer, "/live")
    row = waiting.db.execute("SELECT paused_until - paused_at, paused_by, pauses_stat FROM link_control").fetchone()
    assert tuple(row) == (4 * HOUR, "Esther", 0)
    assert radiographer.post("/resume").status_code == 302
    assert "Paused" not in read(radiographer).replace("Sending goes on.", "")
    trail = [row["action"] for row in waiting.db.execute("SELECT action FROM audit_event WHERE action LIKE '%link'")]
    assert trail == ["pause_link", "resume_link"]


def test_only_an_engineer_lets_stat_studies_wait(
    radiographer: Browser, browse: Callable[[], Browser], waiting: Ward
) -> None:
    radiographer.post("/pause", **{"for": "open", "stat": "1"})
    assert "These still go: Stat." in read(radiographer)
    assert "Let stat studies wait too" not in read(radiographer, "/pause")
    engineer = browse()
    assert engineer.log_in("Joseph").status_code == 302
    engineer.post("/pause", **{"for": "open", "stat": "1"})
    assert "Paused by Joseph until somebody resumes. Nothing goes until then" in read(radiographer)


@pytest.mark.parametrize("span", ["", "2", "-1", "1e9", "'"])
def test_a_time_that_is_none_of_ours_changes_nothing(radiographer: Browser, waiting: Ward, span: str) -> None:
    assert radiographer.post("/pause", **{"for": span}).status_code == 400
    assert waiting.db.execute("SELECT count(*) FROM link_control").fetchone()[0] == 0


def test_nobody_pauses_without_a_login(browse: Callable[[], Browser], ward: Ward) -> None:
    ward.people()
    assert browse().post("/pause", "/login", **{"for": "1"}).status_code == 401


def with_rules(tmp_path: Path, link: Link, language: str = "en") -> Browser:
    """The page of a unit with these rules, logged in."""
    config = msgspec.structs.replace(ward_config(tmp_path, language=language), link=link)
    browser = Browser(create_app(config).test_client())
    assert browser.log_in("Esther").status_code == 302
    return browser


def spend(ward: Ward, tmp_path: Path) -> None:
    month = month_of(rules_in(ward_config(tmp_path)).zone, ward.now)
    with transaction(ward.db):
        ward.db.execute("INSERT INTO uplink_usage VALUES ('SIM', ?, 6000000, 0)", (month,))


SIM = Link(uplinks=(LinkUplink(name="SIM", monthly_mb=5),))


def test_a_spent_budget_and_hours_that_are_not_now_are_said(waiting: Ward, tmp_path: Path) -> None:
    waiting.people()
    spend(waiting, tmp_path)
    page = read(with_rules(tmp_path, SIM))
    assert re.search(r"The monthly budget of SIM is spent; next at .{3,20}\. These still go: Stat\.", page)
    shut = Link(windows=(LinkWindow(priorities=("urgent",)),))
    assert "No hours are set in which these studies may go: call the engineer." in read(with_rules(tmp_path, shut))


def test_it_is_said_in_french_too(waiting: Ward, tmp_path: Path) -> None:
    waiting.people()
    spend(waiting, tmp_path)
    page = read(with_rules(tmp_path, SIM, "fr"))
    assert "Le budget mensuel de SIM est épuisé ; reprise à" in page
    assert "Partent quand même : Vital." in page


def test_a_study_that_a_rule_holds_back_waits_and_says_so(radiographer: Browser, waiting: Ward) -> None:
    page = read(radiographer)
    assert "Waiting for the line Safe on this box; waits until it may go" in page
