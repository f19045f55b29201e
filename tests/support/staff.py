"""People of a hub for tests: added to its index, and a browser of theirs that fills forms in."""

from __future__ import annotations

import re
import urllib.error
import urllib.parse
import urllib.request
from functools import cache
from http.cookiejar import CookieJar
from typing import Any

from support.hub import Answer

from appliance.hub.index import sites
from appliance.hub.index.database import Index
from appliance.hub.people import passwords, persons, scopes, tokens
from appliance.hub.people.values import Actor, Grant, Role

PASSWORD = "green-lorry-42-parked"
SHELL = Actor("tester", "shell")


@cache
def hashed(password: str = PASSWORD) -> str:
    """Argon2 takes its time; tests of other things need it once."""
    return passwords.hash_password(password)


def add_person(index: Index, name: str, role: Role = Role.READER, grant: Grant | None = None, now: int = 0) -> int:
    """A person with PASSWORD who sees the studies of site `a`, which is made when it is not there."""
    with index.write() as connection:
        if grant is None and sites.find(connection, "a") is None:
            sites.add(connection, "a", "A", bytes(32), 0)
        return persons.add(connection, name, role, grant or Grant(sites=("a",)), hashed(), now, SHELL)


def add_token(index: Index, name: str, now: int, days: float = 1) -> str:
    """A token of this person."""
    with index.write() as connection:
        person = persons.find(connection, name)
        return tokens.add(connection, person.id, person.name, "OHIF", days, now, SHELL)


def grant(index: Index, name: str, what: Grant) -> None:
    """Says whose studies the person sees."""
    with index.write() as connection:
        scopes.grant(connection, persons.find(connection, name).id, what)


class _Stay(urllib.request.HTTPRedirectHandler):
    """A redirect is an answer, not followed."""

    def redirect_request(self, *_: Any) -> None:
        return None


class StaffBrowser:
    """Keeps cookies, and sends each form with the token of the page before it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.jar = CookieJar()
        self._opener = urllib.request.build_opener(_Stay, urllib.request.HTTPCookieProcessor(self.jar))

    def ask(self, path: str, body: bytes | None = None, method: str | None = None, **headers: str) -> Answer:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self.url + path, body, given, method=method)
        try:
            with self._opener.open(request, timeout=30) as answer:
                return _answer(answer)
        except urllib.error.HTTPError as error:
            with error:
                return _answer(error)

    def token(self, path: str) -> str:
        found = re.search(rb'name="form_token" value="([^"]+)"', self.ask(path).body)
        assert found
        return found[1].decode()

    def post(self, path: str, after: str, headers: dict[str, str] | None = None, **fields: str) -> Answer:
        form = {"form_token": self.token(after), **fields}
        return self.ask(path, urllib.parse.urlencode(form).encode(), **(headers or {}))

    def log_in(self, name: str, password: str = PASSWORD, after: str = "/people/login", **fields: str) -> Answer:
        return self.post("/people/login", after, name=name, password=password, **fields)

    def cookie(self, name: str) -> str | None:
        return next((one.value for one in self.jar if one.name == name), None)


def _answer(answer: Any) -> Answer:
    return Answer(answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.read())
