"""A line that is down for days: the page says that a stick can carry the studies, in each language."""

from __future__ import annotations

from support.browser import Browser
from support.ward import HOUR, Ward


def read(browser: Browser, language: str = "en") -> str:
    return browser.get("/", **{"Accept-Language": language}).get_data(as_text=True)


def test_after_two_days_the_page_says_that_a_stick_can_carry_the_studies(radiographer: Browser, ward: Ward) -> None:
    ward.beats()
    ward.line(up=False, since=ward.now - 49 * HOUR)
    page = read(radiographer)
    assert "You can carry the studies to the hub on a USB stick" in page
    assert "power and credit" in page


def test_before_that_it_only_asks_to_look_at_the_modem(radiographer: Browser, ward: Ward) -> None:
    ward.beats()
    ward.line(up=False, since=ward.now - 47 * HOUR)
    page = read(radiographer)
    assert "power and credit" in page
    assert "USB stick" not in page


def test_it_is_said_in_french(radiographer: Browser, ward: Ward) -> None:
    ward.beats()
    ward.line(up=False, since=ward.now - 49 * HOUR)
    assert "clé USB" in read(radiographer, "fr")
