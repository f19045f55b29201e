"""The language of a page, and its times and numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from flask import Flask
from flask_babel import force_locale
from hypothesis import given
from hypothesis import strategies as st
from support.browser import Browser
from support.ward import HOUR, MINUTE, Ward, ward_config

from appliance.webui import language
from appliance.webui.app import create_app

NOW = int(datetime(2026, 11, 24, 12, 5, tzinfo=UTC).timestamp() * 1000)  # Tuesday, 14:05 in Blantyre


@pytest.fixture
def request_of(app: Flask) -> Iterator[Flask]:
    with app.test_request_context("/"):
        yield app


def test_a_time_of_today_is_a_time_and_of_the_week_has_its_day(request_of: Flask) -> None:
    assert language.moment(NOW, NOW) == "14:05"
    assert language.moment(NOW - 14 * HOUR, NOW) == "00:05"
    assert language.moment(NOW - 15 * HOUR, NOW) == "Mon 23:05"
    assert language.moment(NOW - 6 * 24 * HOUR, NOW) == "Wed 14:05"
    assert language.moment(NOW - 7 * 24 * HOUR, NOW) == "17 Nov, 14:05"
    assert language.moment(NOW - 400 * 24 * HOUR, NOW) == "20 Oct 2025, 14:05"
    assert language.moment(NOW + 24 * HOUR, NOW) == "25 Nov, 14:05"


def test_times_numbers_and_days_are_written_as_the_language_does(request_of: Flask) -> None:
    with force_locale("fr"):
        assert language.moment(NOW - 24 * HOUR, NOW) == "lun. 14:05"
        assert language.size(12_400_000) == "12,4\u00a0Mo"
        assert language.percent(43).replace("\u202f", " ").replace("\u00a0", " ") == "43 %"
    assert language.size(12_400_000) == "12.4\u00a0MB"
    assert language.percent(43) == "43%"
    assert language.number(1234567) == "1,234,567"


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (48_200, "48.2 kB"), (123_456, "123 kB"), (999_600, "1 MB"),
     (5_000_000_000, "5 GB"), (10**15, "1,000 TB")],
)  # fmt: skip
def test_sizes(request_of: Flask, count: int, text: str) -> None:
    assert language.size(count).replace("\u00a0", " ") == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(2, "2 s"), (90, "2 min"), (7000, "117 min"), (7300, "2 h"), (170_000, "47 h"), (200_000, "2 days")],
)
def test_durations(request_of: Flask, seconds: float, text: str) -> None:
    assert language.duration(seconds) == text


def test_the_sites_day_begins_at_its_own_midnight(request_of: Flask) -> None:
    assert language.midnight(NOW) == int(datetime(2026, 11, 23, 22, 0, tzinfo=UTC).timestamp() * 1000)


def test_a_day_with_a_change_of_clock_has_its_own_length(tmp_path_factory: pytest.TempPathFactory) -> None:
    app = create_app(ward_config(tmp_path_factory.mktemp("x"), timezone="Europe/Paris"))
    with app.test_request_context("/"):
        start, end = language.day_bounds(datetime(2026, 3, 29, tzinfo=UTC).date())
        assert end - start == 23 * HOUR


def test_dicom_dates(request_of: Flask) -> None:
    assert language.dicom_day("20261124", "093012.5", NOW) == "09:30"
    assert language.dicom_day("20261123", "0930", NOW) == "Mon 09:30"
    assert language.dicom_day("20250101", "", NOW) == "1 Jan 2025"
    assert language.birth_day("19790412") == "12 Apr 1979"


@given(text=st.text(max_size=20), time=st.text(max_size=12))
def test_a_date_that_is_none_is_empty_and_never_an_error(text: str, time: str) -> None:
    app = APP
    with app.test_request_context("/"):
        assert isinstance(language.dicom_day(text, time, NOW), str)
        assert language.birth_day(text) == "" or text[:8].strip()


@given(at=st.integers(-(2**63), 2**63 - 1))
def test_any_time_in_the_database_can_be_shown(at: int) -> None:
    with APP.test_request_context("/"):
        assert language.moment(at, NOW)


@pytest.fixture(scope="module", autouse=True)
def _app_of_the_module(tmp_path_factory: pytest.TempPathFactory) -> None:
    global APP  # noqa: PLW0603 - hypothesis wants no function's fixture
    APP = create_app(ward_config(tmp_path_factory.mktemp("app")))


APP: Flask


def said(browser: Browser, accept: str = "") -> str:
    page = browser.get("/login", **({"Accept_Language": accept} if accept else {})).get_data(as_text=True)
    return page.split('<html lang="')[1][:2]


def test_the_browsers_language_is_spoken_when_it_is_shipped(ward: Ward, browse: Callable[[], Browser]) -> None:
    assert said(browse(), "fr-CD,fr;q=0.9,en;q=0.5") == "fr"
    assert said(browse(), "en-GB") == "en"
    assert said(browse(), "sw") == "en"
    assert said(browse()) == "en"


def test_the_sites_language_is_spoken_when_the_browser_asks_for_none(ward: Ward) -> None:
    for site, spoken in (("fr", "fr"), ("xx", "en")):
        app = create_app(ward_config(ward_path(ward), language=site))
        assert said(Browser(app.test_client())) == spoken
        assert said(Browser(app.test_client()), "sw") == spoken


def ward_path(ward: Ward) -> object:
    from pathlib import Path

    return Path(ward.db.execute("PRAGMA database_list").fetchone()["file"]).parent


def test_what_a_person_chose_stays(ward: Ward, browse: Callable[[], Browser]) -> None:
    ward.people()
    browser = browse()
    assert browser.get("/language/fr?next=/login").headers["Location"] == "/login"
    assert said(browser, "en") == "fr"
    browser.log_in("Esther")
    page = browser.get("/").get_data(as_text=True)
    assert "Examens" in page
    assert "Studies" not in page
    assert browser.get("/language/xx").status_code == 404


def test_a_page_says_in_which_direction_it_is_written(ward: Ward, browse: Callable[[], Browser]) -> None:
    assert 'dir="ltr"' in browse().get("/login").get_data(as_text=True)


@pytest.mark.parametrize(("spoken", "way"), [("fr", "ltr"), ("sw", "ltr"), ("ar", "rtl"), ("ur", "rtl")])
def test_a_language_from_right_to_left_is_known_as_one(request_of: Flask, spoken: str, way: str) -> None:
    with force_locale(spoken):
        assert language.direction() == way


def test_the_style_sheet_knows_no_left_and_no_right() -> None:
    from support.catalogue import WEBUI

    style = (WEBUI / "static" / "style.css").read_text("utf-8")
    for word in ("left", "right"):
        assert f"{word}:" not in style.replace("-left:", f"{word}:").replace("-right:", f"{word}:")
        assert f"text-align: {word}" not in style
        assert f"float: {word}" not in style


def test_minutes_are_whole(request_of: Flask) -> None:
    assert language.clock_time(NOW + MINUTE - 1) == "14:05"
