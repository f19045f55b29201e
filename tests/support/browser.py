"""A test client of the page that fills forms in as a browser does."""

from __future__ import annotations

import re

from flask.testing import FlaskClient
from support.ward import PINS
from werkzeug.test import TestResponse


class Browser:
    """A client that fills forms in as a browser does: with the token that the page before gave it."""

    def __init__(self, client: FlaskClient) -> None:
        self.client = client

    def get(self, path: str, **headers: str) -> TestResponse:
        return self.client.get(path, headers={k.replace("_", "-"): v for k, v in headers.items()}, buffered=True)

    def token(self, path: str = "/login") -> str:
        found = re.search(r'name="csrf_token" value="([^"]+)"', self.get(path).get_data(as_text=True))
        assert found
        return found[1]

    def post(self, path: str, after: str = "/", **fields: str) -> TestResponse:
        return self.client.post(path, data={"csrf_token": self.token(after), **fields})

    def log_in(self, name: str, pin: str | None = None) -> TestResponse:
        return self.post("/login", "/login", name=name, pin=PINS.get(name, "") if pin is None else pin)
