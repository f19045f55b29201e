"""The page as a WSGI application, on the database of a fictitious ward."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask
from support.browser import Browser
from support.ward import Ward, ward_config

from appliance.clock import now_ms
from appliance.webui.app import create_app


@pytest.fixture
def ward(tmp_path: Path) -> Iterator[Ward]:
    ward = Ward(tmp_path, now_ms())
    yield ward
    ward.close()


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    app = create_app(ward_config(tmp_path))
    app.testing = False  # errors are answered, as they are in a ward
    return app


@pytest.fixture
def browse(app: Flask) -> Callable[[], Browser]:
    """A new browser, with cookies of its own."""
    return lambda: Browser(app.test_client())


@pytest.fixture
def radiographer(ward: Ward, browse: Callable[[], Browser]) -> Browser:
    ward.people()
    browser = browse()
    assert browser.log_in("Esther").status_code == 302
    return browser


@pytest.fixture
def engineer(ward: Ward, browse: Callable[[], Browser]) -> Browser:
    ward.people()
    browser = browse()
    assert browser.log_in("Joseph").status_code == 302
    return browser
