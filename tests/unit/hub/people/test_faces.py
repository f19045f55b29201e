"""Which paths are for people, and which for sites."""

from __future__ import annotations

import pytest
from aiohttp import web

from appliance.hub.access import Handler
from appliance.hub.people.pages import as_page, local_path
from appliance.hub.people.visitors import as_service
from appliance.hub.people.web import face_of


@web.middleware
async def sites(request: web.Request, handler: Handler) -> web.StreamResponse:
    return await handler(request)


@pytest.mark.parametrize("path", ["/people", "/people/", "/people/login", "/people/whoami2"])
def test_pages_are_for_people(path: str) -> None:
    assert face_of(path, sites) is as_page


def test_what_a_viewer_asks_is_answered_as_one_wants_it() -> None:
    assert face_of("/people/whoami", sites) is as_service


@pytest.mark.parametrize("path", ["", "/", "/peopl", "/peoples", "/People", "/v1/uploads", "/v1/people", "//people/"])
def test_every_other_path_is_for_sites(path: str) -> None:
    assert face_of(path, sites) is sites


@pytest.mark.parametrize("target", ["/people/account", "/board?site=a&q=%C3%A9#x", "/"])
def test_a_path_of_the_hub_is_gone_back_to(target: str) -> None:
    assert local_path(target) == target


@pytest.mark.parametrize("target", ["", "people", "//x", "/\\x", "https://x/", "/a\nb", "/[", "x:/y", "\ud800"])
def test_every_other_target_becomes_the_first_page(target: str) -> None:
    assert local_path(target) == "/people/account"
