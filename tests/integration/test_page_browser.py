"""The page in Chromium, served by its own process's server: what it loads, how it looks, and how it keeps fresh."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from support.page import chromium, log_in, served
from support.ward import HOUR, Ward, busy_morning, ward_config

from appliance.clock import now_ms


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def ward(tmp_path: Path) -> Iterator[Ward]:
    ward = Ward(tmp_path, now_ms())
    yield ward
    ward.close()


@pytest.fixture
def ids(ward: Ward) -> dict[str, int]:
    return busy_morning(ward)


@pytest.fixture
def url(tmp_path: Path, ids: dict[str, int]) -> Iterator[str]:
    with served(ward_config(tmp_path)) as url:
        yield url


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens a page of its own, which fails the test when the browser complains about anything."""
    with contextlib.ExitStack() as stack:

        def opened(width: int = 1280, **options: object) -> Page:
            context: BrowserContext = browser.new_context(
                viewport={"width": width, "height": 800}, locale="en-GB", **options
            )
            stack.callback(context.close)
            page = context.new_page()
            page.set_default_timeout(15_000)
            return page

        yield opened


def complaints(page: Page) -> list[str]:
    """What the browser says on its console from now on: scripts that fail, what the policy blocks."""
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    return said


PAGES = ("/", "/studies/{on_its_way}", "/studies/{needs_help}", "/engineer/", "/engineer/devices", "/engineer/users",
         "/engineer/audit", "/nowhere", "/?q=zzz")  # fmt: skip


def test_nothing_is_asked_of_any_other_machine_and_the_policy_blocks_nothing(
    url: str, ids: dict[str, int], open_page: Callable[..., Page]
) -> None:
    page = open_page()
    asked: set[str] = set()
    page.on("request", lambda request: asked.add(urlsplit(request.url).netloc))
    said = complaints(page)
    log_in(page, url, "Joseph")
    for path in PAGES:
        page.goto(url + path.format(**ids))
    assert asked == {urlsplit(url).netloc}
    assert [text for text in said if "404" not in text] == []


def wire_bytes(page: Page, visit: Callable[[], None]) -> int:
    """Bytes that came over the wire for all that `visit` loads: bodies as sent, and headers."""
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    total = 0

    def finished(event: dict[str, float]) -> None:
        nonlocal total
        total += int(event["encodedDataLength"])

    session.on("Network.loadingFinished", finished)
    visit()
    page.wait_for_load_state("networkidle")
    session.detach()
    return total


def test_the_first_load_is_under_100_kb_and_a_poll_under_5_kb(
    url: str, ward: Ward, open_page: Callable[..., Page]
) -> None:
    for n in range(30):
        ward.study(f"NKHOMA^PATIENT NUMBER {n}", f"MG-5{n:03}", images=2, came=ward.now - n * 1000)
    page = open_page()
    log_in(page, url)
    page.goto("about:blank")
    cold = open_page()
    cold.context.add_cookies([c for c in page.context.cookies() if c["name"] == "login"])  # type: ignore[misc]
    first = wire_bytes(cold, lambda: cold.goto(url) and None)
    assert cold.locator(".study").count() == 25
    assert 3_000 < first < 100_000
    poll = wire_bytes(cold, lambda: cold.evaluate("fetch('/live').then(answer => answer.text())"))
    assert 500 < poll < 5_000


def test_a_change_appears_by_itself_and_focus_and_typing_stay(
    url: str, ids: dict[str, int], ward: Ward, open_page: Callable[..., Page]
) -> None:
    page = open_page()
    said = complaints(page)
    log_in(page, url)
    page.fill("input[name=q]", "half typed")
    link = page.locator(f"#study-{ids['waiting']}")
    link.focus()
    ward.study("CHISALE^NEW", "MG-9999", came=ward.now)
    ward.line(up=False, since=ward.now)
    expect(page.locator(".studies")).to_contain_text("CHISALE, New", timeout=25_000)
    expect(page.locator("#banner")).to_contain_text("The line has been down since")
    expect(page.locator("#said")).to_contain_text("The line has been down since")
    assert page.evaluate("document.activeElement.id") == f"study-{ids['waiting']}"
    assert page.input_value("input[name=q]") == "half typed"
    assert said == []


def test_a_page_that_is_hidden_asks_for_nothing(url: str, open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.add_init_script("Object.defineProperty(document, 'hidden', {get: () => window.isHidden === true})")
    log_in(page, url)
    page.evaluate("window.isHidden = true; document.dispatchEvent(new Event('visibilitychange'))")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(6_000)
    assert asked == []
    with page.expect_request("**/live*"):
        page.evaluate("window.isHidden = false; document.dispatchEvent(new Event('visibilitychange'))")


def test_a_page_that_lost_the_box_says_that_it_may_be_old(
    tmp_path: Path, ids: dict[str, int], open_page: Callable[..., Page]
) -> None:
    page = open_page()
    with served(ward_config(tmp_path)) as url:
        log_in(page, url)
        assert not page.locator("#stale").is_visible()
    expect(page.locator("#stale")).to_be_visible(timeout=25_000)


def test_a_session_that_was_ended_leads_to_the_login_by_itself(
    url: str, ward: Ward, open_page: Callable[..., Page]
) -> None:
    page = open_page()
    log_in(page, url)
    ward.db.execute("UPDATE session SET revoked_at = 1")
    expect(page.locator("input[name=pin]")).to_be_visible(timeout=25_000)


def test_everything_works_without_javascript(
    url: str, ids: dict[str, int], ward: Ward, open_page: Callable[..., Page]
) -> None:
    page = open_page(java_script_enabled=False)
    log_in(page, url, "Joseph")
    assert page.locator("noscript meta[http-equiv=refresh]").count() + page.locator("meta[http-equiv=refresh]").count()
    page.click("button:has-text('Allow')")
    assert "The device may send now." in page.inner_text(".notice")
    page.goto(f"{url}/?q=kamanga")
    page.click(".who a")
    page.click("button[value=urgent]")
    assert "The priority is now Urgent." in page.inner_text(".notice")
    page.goto(f"{url}/studies/{ids['at_hub']}")
    page.click("summary")
    page.click("button:has-text('Send everything again')")
    assert "2 images go again." in page.inner_text(".notice")
    assert len(ward.images_of(ids["at_hub"], "received")) == 2
    page.click("button:has-text('Log out')")
    assert page.url.endswith("/login")


TOO_SMALL = """() => [...document.querySelectorAll('a, button, input:not([type=hidden]), select, summary')]
  .filter(e => !e.closest('.unseen') && !e.matches('.skip') && e.offsetParent !== null)
  .map(e => [e.outerHTML.slice(0, 80), e.matches('.who a') ? e.closest('.study').getBoundingClientRect().height
                                                            : e.getBoundingClientRect().height,
        e.getBoundingClientRect().width, e])
  .filter(([, height, width, e]) => (height < 44 || width < 44))
  .map(([html, height, width]) => html + ' ' + height + ' ' + width)"""

WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.mark.parametrize("width", [360, 768, 1280])
@pytest.mark.parametrize("language", ["en", "fr"])
def test_every_page_fits_and_every_target_is_large_enough(
    url: str, ids: dict[str, int], open_page: Callable[..., Page], width: int, language: str
) -> None:
    page = open_page(width)
    page.goto(f"{url}/language/{language}?next=/login")
    assert (page.evaluate(WIDER) <= 0, page.evaluate(TOO_SMALL)) == (True, [])
    log_in(page, url, "Joseph")
    for path in PAGES:
        page.goto(url + path.format(**ids))
        assert page.evaluate(WIDER) <= 0, path
        assert page.evaluate(TOO_SMALL) == [], path


POOR_CONTRAST = """() => {
  const luminance = c => c.slice(0, 3).map(v => v / 255).map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const rgba = text => { const n = text.match(/[\\d.]+/g).map(Number); return n.length < 4 ? [...n, 1] : n; };
  const ground = e => { for (; e; e = e.parentElement) { const c = rgba(getComputedStyle(e).backgroundColor);
    if (c[3] > .99) return c; } return [255, 255, 255, 1]; };
  const poor = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const e = walker.currentNode.parentElement;
    const unread = '.unseen, .skip, noscript, script, option, svg, progress';
    if (!walker.currentNode.textContent.trim() || e.closest(unread)) continue;
    const style = getComputedStyle(e), back = ground(e);
    let opacity = 1; for (let p = e; p; p = p.parentElement) opacity *= Number(getComputedStyle(p).opacity);
    const ink = rgba(style.color).map((v, i) => i < 3 ? v * opacity + back[i] * (1 - opacity) : 1);
    const [a, b] = [luminance(ink), luminance(back)].sort((x, y) => y - x);
    const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const contrast = (a + .05) / (b + .05);
    if (contrast < (large ? 3 : 4.5)) poor.push(e.outerHTML.slice(0, 90) + contrast.toFixed(2));
  }
  return poor;
}"""


def test_every_text_has_contrast_enough(
    url: str, ids: dict[str, int], ward: Ward, open_page: Callable[..., Page]
) -> None:
    page = open_page()
    page.goto(f"{url}/login")
    assert page.evaluate(POOR_CONTRAST) == []
    log_in(page, url, "Joseph")
    for path in (*PAGES, "/studies/{at_hub}", "/studies/{waiting}", "/studies/{here}"):
        page.goto(url + path.format(**ids))
        assert page.evaluate(POOR_CONTRAST) == [], path
    for line in ({"up": False, "since": ward.now - HOUR}, {"up": True, "since": 0, "problem": "E502"}):
        ward.line(**line)  # type: ignore[arg-type]
        page.goto(url)
        assert page.evaluate(POOR_CONTRAST) == []


def test_a_state_is_a_word_and_an_icon_and_every_field_has_a_label(url: str, open_page: Callable[..., Page]) -> None:
    page = open_page()
    log_in(page, url, "Joseph")
    states = page.locator(".studies .state")
    assert states.count() == 9
    for state in states.all():
        assert state.locator("svg").count() == 1
        assert state.inner_text().strip()
    for path in ("/", "/engineer/users", "/engineer/devices"):
        page.goto(url + path)
        unlabelled = (
            "[...document.querySelectorAll('input:not([type=hidden]), select')].filter(e => !e.labels.length).length"
        )
        assert page.evaluate(unlabelled) == 0


def test_hostile_names_run_nothing_and_reorder_nothing(url: str, ward: Ward, open_page: Callable[..., Page]) -> None:
    page = open_page()
    said = complaints(page)
    page.on("dialog", lambda dialog: said.append(dialog.message))
    attack = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>\u202e\u2066^{{7*7}}"
    study = ward.study(attack, attack, "OT", attack, images=1, study_description=attack, calling_ae=attack)
    ward.quarantine(study, 1, attack)
    ward.device(attack, attack)
    ward.refused(attack, attack, attack, 0xC000)
    log_in(page, url, "Joseph")
    for path in ("/", f"/studies/{study}", "/engineer/", "/engineer/devices"):
        page.goto(url + path)
        assert page.locator("img, main script").count() == 0
        assert not re.search("[\u202a-\u202e\u2066-\u2069]", page.content())
    assert "<script>alert(1)</script>" in page.inner_text("main")
    assert said == []


def test_printed_it_is_the_study_and_not_the_buttons(
    url: str, ids: dict[str, int], open_page: Callable[..., Page]
) -> None:
    page = open_page()
    log_in(page, url)
    page.goto(f"{url}/studies/{ids['at_hub']}")
    page.emulate_media(media="print")
    assert page.locator("h1").is_visible()
    assert page.locator(".timeline").is_visible()
    for gone in (".top", ".choices", ".back"):
        assert not page.locator(gone).is_visible()
