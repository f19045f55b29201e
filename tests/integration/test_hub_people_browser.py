"""The hub's login and account in Chromium: what they load, how they look on a phone and a desk, without JavaScript."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page
from support.hub import RunningHub, hub_config, running_hub
from support.page import chromium
from support.staff import PASSWORD, add_person, add_token

from appliance.clock import now_ms
from appliance.hub.index.database import Index
from appliance.hub.people.values import Role

WIDTHS = (360, 1280)
TARGET = 44  # px, of everything that is touched


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[RunningHub]:
    with running_hub(hub_config(tmp_path / "hub", name="Regional hub Blantyre")) as hub:
        index = Index.open(hub.config)
        add_person(index, "Mary Banda", Role.STAFF)
        add_token(index, "Mary Banda", now_ms())
        index.close()
        yield hub


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    with contextlib.ExitStack() as stack:

        def opened(width: int, **options: object) -> Page:
            context = browser.new_context(
                viewport={"width": width, "height": 740}, **{"locale": "en-GB", "java_script_enabled": False, **options}
            )
            stack.callback(context.close)
            page = context.new_page()
            page.set_default_timeout(15_000)
            return page

        yield opened


def log_in(page: Page, url: str, password: str = PASSWORD) -> None:
    page.goto(f"{url}/people/")
    page.fill("input[name=name]", "Mary Banda")
    page.fill("input[name=password]", password)
    page.click("form.enter button.main")


def fits(page: Page) -> None:
    """Nothing goes beyond the side, and what is touched is large enough."""
    width = page.viewport_size["width"]  # type: ignore[index]
    for each in page.locator("h1, p, a, button, input:visible, section, pre").all():
        box = each.bounding_box()
        if box and box["width"] > 1:
            assert box["x"] >= 0, each.inner_text()
            assert box["x"] + box["width"] <= width, each.inner_text()
    for each in page.locator("button, input:visible, .top a").all():
        box = each.bounding_box()
        assert box, each.inner_text()
        assert min(box["height"], box["width"]) >= TARGET, each.inner_text()


@pytest.mark.parametrize("width", WIDTHS)
def test_login_and_account_fit_and_need_no_javascript(
    hub: RunningHub, open_page: Callable[..., Page], width: int
) -> None:
    page = open_page(width)
    page.goto(f"{hub.url}/people/login")
    fits(page)
    log_in(page, hub.url, "wrong wrong 7")
    assert page.locator("[role=alert]").inner_text() == "Name or password is wrong."
    assert page.input_value("input[name=name]") == "Mary Banda"
    fits(page)
    log_in(page, hub.url)
    assert page.url == f"{hub.url}/people/account"
    assert page.locator("h1").inner_text() == "Mary Banda"
    fits(page)
    page.click("text=Log out")
    assert page.url == f"{hub.url}/people/login"


@pytest.mark.parametrize("width", WIDTHS)
def test_it_is_in_french_too_and_fits(hub: RunningHub, open_page: Callable[..., Page], width: int) -> None:
    page = open_page(width, locale="fr-FR")
    log_in(page, hub.url)
    assert page.locator("html").get_attribute("lang") == "fr"
    assert "Examens de" in page.locator("main").inner_text()
    fits(page)
    page.click("text=English")
    assert "Studies of" in page.locator("main").inner_text()


def test_nothing_is_asked_of_any_other_machine_and_the_policy_blocks_nothing(
    hub: RunningHub, open_page: Callable[..., Page]
) -> None:
    page = open_page(1280, java_script_enabled=True)
    asked: set[str] = set()
    said: list[str] = []
    page.on("request", lambda request: asked.add(urlsplit(request.url).netloc))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    log_in(page, hub.url)
    page.wait_for_selector(".facts")
    assert asked == {urlsplit(hub.url).netloc}
    assert said == []


def test_a_person_changes_the_password_by_the_keyboard_alone(hub: RunningHub, open_page: Callable[..., Page]) -> None:
    page = open_page(1280)
    page.goto(f"{hub.url}/people/login")
    page.wait_for_selector("input[name=name]:focus")
    page.keyboard.type("Mary Banda")
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_selector(".facts")
    page.focus("input[name=old]")
    for text in (PASSWORD, "violet-boat-77-river", "violet-boat-77-river"):
        page.keyboard.type(text)
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("[role=status]")
    assert page.locator("[role=status]").inner_text() == "Done."
