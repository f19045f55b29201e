"""The page in a real server and a real browser."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Page, sync_playwright
from support.ward import PINS

from appliance.config import UnitConfig
from appliance.webui.server import PageServer


@contextmanager
def served(config: UnitConfig) -> Iterator[str]:
    """The page on a free port; yields its address."""
    stop = threading.Event()
    server = PageServer(config)
    thread = threading.Thread(target=server.serve, args=(stop,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        stop.set()
        thread.join()


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, without a window."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


def log_in(page: Page, url: str, name: str = "Esther") -> None:
    """Logs `name` in by the form, as a person does."""
    page.goto(f"{url}/login")
    page.fill("input[name=name]", name)
    page.fill("input[name=pin]", PINS[name])
    page.click("form.enter button.main")
    page.wait_for_selector("#banner")
