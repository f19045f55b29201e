"""Makes the pictures of docs/guides/radiographer.md: `python docs/screenshots.py [DIRECTORY]`. Needs Chromium.

The page is the real one, on a database that `tests/support/ward.py` fills with people who do not exist.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support.ward import HOUR, MINUTE, PINS, Ward, busy_morning, ward_config  # noqa: E402

from appliance.clock import now_ms  # noqa: E402
from appliance.webui.server import PageServer  # noqa: E402


@contextmanager
def served(data: Path) -> Iterator[str]:
    """The page on a free port; yields its address."""
    stop = threading.Event()
    server = PageServer(ward_config(data))
    thread = threading.Thread(target=server.serve, args=(stop,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        stop.set()
        thread.join()


def log_in(page: Page, url: str, name: str) -> None:
    """Logs `name` in by the form, as a person does."""
    page.goto(f"{url}/login")
    page.fill("input[name=name]", name)
    page.fill("input[name=pin]", PINS[name])
    page.click("form.enter button.main")


def line_down(ward: Ward) -> None:
    """The same morning after the line went."""
    ward.line(up=False, since=ward.now - 47 * MINUTE, seen=ward.now - 47 * MINUTE, problem="E501")
    ward.db.execute("UPDATE device SET decision = 'allowed', decided_by = 'Joseph', decided_at = ?", (ward.now - HOUR,))
    ward.db.execute("UPDATE refused_store SET dismissed_at = ?", (ward.now,))


def take(target: Path) -> None:
    """Writes the pictures into `target`."""
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        data = Path(scratch)
        ward = Ward(data, now_ms())
        ids = busy_morning(ward)
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        with served(data) as url:
            for name, width, height in (("wide", 1280, 800), ("phone", 360, 740)):
                page = browser.new_page(viewport={"width": width, "height": height}, locale="en-GB")
                page.goto(url)
                page.screenshot(path=target / f"login-{name}.png")
                log_in(page, url, "Joseph" if name == "wide" else "Esther")
                page.screenshot(path=target / f"studies-{name}.png", full_page=True)
                page.goto(f"{url}/studies/{ids['on_its_way']}")
                page.screenshot(path=target / f"study-{name}.png", full_page=True)
                if name == "wide":
                    for place in ("", "devices", "users", "audit"):
                        page.goto(f"{url}/engineer/{place}")
                        page.screenshot(path=target / f"engineer-{place or 'health'}.png")
            page.goto(f"{url}/language/fr?next=/")
            page.screenshot(path=target / "studies-phone-french.png")
            page.goto(f"{url}/language/en?next=/")
            line_down(ward)
            page.goto(url)
            page.screenshot(path=target / "line-down-phone.png")
        browser.close()
        ward.close()


if __name__ == "__main__":
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "images"
    directory.mkdir(parents=True, exist_ok=True)
    take(directory)
