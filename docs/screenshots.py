"""Makes the pictures of the guides: `python docs/screenshots.py [DIRECTORY]`. Needs Chromium.

The page is the real one, on a database that `tests/support/ward.py` fills with people who do not exist.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support.page import chromium, log_in, served  # noqa: E402
from support.ward import HOUR, MINUTE, Ward, busy_morning, ward_config  # noqa: E402

from appliance.clock import now_ms  # noqa: E402


def line_down(ward: Ward) -> None:
    """The same morning after the line went."""
    ward.line(up=False, since=ward.now - 47 * MINUTE, seen=ward.now - 47 * MINUTE, problem="E501")
    ward.db.execute("UPDATE device SET decision = 'allowed', decided_by = 'Joseph', decided_at = ?", (ward.now - HOUR,))
    ward.db.execute("UPDATE refused_store SET dismissed_at = ?", (ward.now,))


def take(target: Path) -> None:
    """Writes the pictures into `target`."""
    with tempfile.TemporaryDirectory() as scratch, chromium() as browser:
        ward = Ward(Path(scratch), now_ms())
        ids = busy_morning(ward)
        with served(ward_config(Path(scratch))) as url:
            wide = browser.new_page(viewport={"width": 1280, "height": 640}, locale="en-GB")
            log_in(wide, url, "Joseph")
            shoot(wide, f"{url}/", target / "studies-wide.png", whole=True)
            shoot(wide, f"{url}/studies/{ids['on_its_way']}", target / "study-wide.png", whole=True)
            shoot(wide, f"{url}/engineer/", target / "engineer-health.png")
            shoot(wide, f"{url}/engineer/devices", target / "engineer-devices.png")
            phone = browser.new_page(viewport={"width": 360, "height": 740}, locale="en-GB")
            shoot(phone, f"{url}/login", target / "login-phone.png")
            log_in(phone, url)
            shoot(phone, f"{url}/language/fr?next=/", target / "studies-phone-french.png")
            phone.goto(f"{url}/language/en")
            line_down(ward)
            shoot(phone, f"{url}/", target / "line-down-phone.png")
        ward.close()


def shoot(page: Page, url: str, path: Path, *, whole: bool = False) -> None:
    """One picture: of what is seen at first, or of the whole page."""
    page.goto(url)
    page.screenshot(path=path, full_page=whole)


if __name__ == "__main__":
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "images"
    directory.mkdir(parents=True, exist_ok=True)
    take(directory)
