"""People and viewers at a running hub, over HTTP: in, out, kept out, and what each sees."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
from support.hub import Client, RawRequest, RunningHub, hub_config, running_hub
from support.staff import PASSWORD, SHELL, StaffBrowser, add_person, add_token, grant

from appliance.clock import now_ms
from appliance.config import Staff
from appliance.hub.index import jurisdictions
from appliance.hub.index.database import Index
from appliance.hub.people import persons, tokens
from appliance.hub.people.forms import BODY_MAX
from appliance.hub.people.values import Grant, Role

LOGIN, ACCOUNT, WHOAMI = "/people/login", "/people/account", "/people/whoami"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[RunningHub]:
    with running_hub(hub_config(tmp_path / "hub")) as hub:
        yield hub


@pytest.fixture
def index(hub: RunningHub) -> Iterator[Index]:
    """The hub's index, as a command beside it opens it."""
    opened = Index.open(hub.config)
    yield opened
    opened.close()


@pytest.fixture
def browse(hub: RunningHub) -> Callable[[], StaffBrowser]:
    return lambda: StaffBrowser(hub.url)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_a_hub_without_people_says_how_to_let_the_first_one_in(browse: Callable[[], StaffBrowser]) -> None:
    text = browse().ask(LOGIN).body.decode()
    assert "appliance hub user add NAME --role admin --all" in text
    assert 'name="password"' not in text


def test_a_person_logs_in_sees_whose_studies_and_logs_out(index: Index, browse: Callable[[], StaffBrowser]) -> None:
    add_person(index, "Mary", Role.STAFF)
    browser = browse()
    assert browser.ask(ACCOUNT).headers["location"] == "/people/login?next=%2Fpeople%2Faccount"
    entered = browser.log_in("mary")
    assert (entered.status, entered.headers["location"]) == (303, ACCOUNT)
    page = browser.ask(ACCOUNT).body.decode()
    assert "<h1>Mary</h1>" in page
    assert "look, pull, claim and route" in page
    assert re.search(r"<dd>\s*A\s*</dd>", page)  # the name of site `a`
    assert browser.ask(WHOAMI).json == {"name": "Mary", "role": "staff", "sites": ["a"]}
    kept = browser.cookie("staff")
    assert browser.post("/people/logout", ACCOUNT).headers["location"] == LOGIN
    assert browser.cookie("staff") is None
    assert browse().ask(WHOAMI, Cookie=f"staff={kept}").status == 401


def test_the_login_leads_to_where_the_person_wanted_to_go(index: Index, browse: Callable[[], StaffBrowser]) -> None:
    add_person(index, "Mary")
    browser = browse()
    place = browser.ask("/people/account?x=1&y=%C3%A9").headers["location"]
    wanted = urllib.parse.parse_qs(urllib.parse.urlsplit(place).query)["next"][0]
    assert wanted == "/people/account?x=1&y=%C3%A9"
    assert browser.log_in("Mary", after=place, next=wanted).headers["location"] == wanted


@pytest.mark.parametrize(
    "target",
    ["//evil.example", "https://evil.example/", "/\\evil.example", "javascript:x", "/\r\nX: y", "", "//[", "/["],
)
def test_the_login_never_leads_somewhere_else(index: Index, browse: Callable[[], StaffBrowser], target: str) -> None:
    add_person(index, "Mary")
    browser = browse()
    assert browser.log_in("Mary", next=target).headers["location"] == ACCOUNT
    query = urllib.parse.urlencode({"next": target})
    assert browser.ask(f"/people/language/fr?{query}").headers["location"] == ACCOUNT


def test_a_wrong_name_and_a_wrong_password_and_who_is_shut_out_get_the_same_answer(
    index: Index, browse: Callable[[], StaffBrowser]
) -> None:
    for name in ("Mary", "Jane"):
        add_person(index, name)
    with index.write() as connection:
        persons.revoke(connection, "Jane", now_ms(), SHELL)
    answers = [browse().log_in("Mary", "wrong wrong 7"), browse().log_in("Nobody"), browse().log_in("Jane")]
    assert {answer.status for answer in answers} == {401}
    bodies = {
        answer.body.replace(name, b"NAME") for answer, name in zip(answers, (b"Mary", b"Nobody", b"Jane"), strict=True)
    }
    without_tokens = {body.partition(b'name="form_token"')[0] + body.rpartition(b'name="next"')[2] for body in bodies}
    assert len(without_tokens) == 1
    assert b"Name or password is wrong." in answers[0].body


def test_after_wrong_passwords_there_is_a_wait_that_a_known_browser_does_not_have(
    index: Index, browse: Callable[[], StaffBrowser]
) -> None:
    add_person(index, "Mary")
    hers = browse()
    assert hers.log_in("Mary").status == 303
    hers.post("/people/logout", ACCOUNT)
    guesser = browse()
    statuses = [guesser.log_in("Mary", f"wrong wrong {number}").status for number in range(4)]
    assert statuses == [401, 401, 401, 429]
    refused = guesser.log_in("Mary")
    assert refused.status == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 300
    assert "Too many wrong tries" in refused.body.decode()
    assert hers.log_in("Mary").status == 303


@pytest.mark.parametrize("path", [LOGIN, "/people/logout", "/people/account/password", "/people/account/others"])
def test_a_form_that_is_not_from_a_page_of_ours_changes_nothing(
    index: Index, browse: Callable[[], StaffBrowser], path: str
) -> None:
    add_person(index, "Mary")
    browser, victim = browse(), browse()
    victim.log_in("Mary")
    body = urllib.parse.urlencode({"name": "Mary", "password": PASSWORD, "form_token": browser.token(LOGIN)}).encode()
    assert victim.ask(path, body).status == 400
    assert browse().ask(path, body).status == 400
    assert victim.post(path, ACCOUNT, {"Sec_Fetch_Site": "cross-site"}).status == 400
    assert victim.ask(WHOAMI).status == 200


def test_a_session_that_is_ended_at_the_shell_is_over_with_the_next_request(
    index: Index, browse: Callable[[], StaffBrowser]
) -> None:
    add_person(index, "Mary")
    browser, token = browse(), add_token(index, "Mary", now_ms())
    browser.log_in("Mary")
    assert [browser.ask(WHOAMI).status, browse().ask(WHOAMI, **bearer(token)).status] == [200, 200]
    with index.write() as connection:
        persons.revoke(connection, "Mary", now_ms(), SHELL)
    assert [browser.ask(WHOAMI).status, browse().ask(WHOAMI, **bearer(token)).status] == [401, 401]
    assert browser.ask(ACCOUNT).status == 303


def test_another_role_and_other_sites_hold_from_the_next_request_on(
    index: Index, browse: Callable[[], StaffBrowser]
) -> None:
    add_person(index, "Mary", Role.ADMIN)
    browser = browse()
    browser.log_in("Mary")
    with index.write() as connection:
        persons.set_role(connection, "Mary", Role.READER, now_ms(), SHELL)
        jurisdictions.set_of(connection, "site-1", ["south"])
    grant(index, "Mary", Grant(jurisdictions=("south",)))
    assert browser.ask(WHOAMI).json == {"name": "Mary", "role": "reader", "sites": ["site-1"]}
    assert "south" in browser.ask(ACCOUNT).body.decode()
    with index.write() as connection:
        jurisdictions.set_of(connection, "site-1", [])
    assert browser.ask(WHOAMI).json["sites"] == []
    grant(index, "Mary", Grant(everything=True))
    assert browser.ask(WHOAMI).json["sites"] is None


def test_a_viewers_token_sees_what_its_person_sees_and_may_only_look(
    index: Index, hub: RunningHub, browse: Callable[[], StaffBrowser]
) -> None:
    add_person(index, "Mary", Role.ADMIN)
    token = add_token(index, "Mary", now_ms())
    assert browse().ask(WHOAMI, **bearer(token)).json == {"name": "Mary", "role": "reader", "sites": ["a"]}
    assert browse().ask(ACCOUNT, **bearer(token)).status == 303  # a page is for people
    assert hub.client(token).create(10).status == 401  # an upload is for sites


@pytest.mark.parametrize("shown", ["Bearer nonsense", "Bearer viewer_" + "A" * 43, "Basic TWFyeTp4", "Bearer \xff"])
def test_a_token_that_is_not_ours_is_refused_though_there_is_a_session(
    index: Index, browse: Callable[[], StaffBrowser], shown: str
) -> None:
    add_person(index, "Mary")
    browser = browse()
    browser.log_in("Mary")
    answer = browser.ask(WHOAMI, Authorization=shown)
    assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")


def test_the_secret_of_a_site_opens_no_page_and_a_session_no_upload(
    index: Index, hub: RunningHub, browse: Callable[[], StaffBrowser]
) -> None:
    add_person(index, "Mary", Role.ADMIN, Grant(everything=True))
    browser = browse()
    browser.log_in("Mary")
    assert browse().ask(WHOAMI, **bearer(hub.secret)).status == 401
    assert browser.ask("/v1/uploads", b"", Upload_Length="10", Tus_Resumable="1.0.0").status == 401
    assert hub.client().create(10).status == 201
    assert Client(hub.url, "").ask("GET", "/people2", Authorization="").status == 401
    assert Client(hub.url, "").ask("GET", "/peoples/whoami", Authorization="").status == 401


@pytest.mark.parametrize(
    "path",
    ["/people/../v1/wishes", "/people/%2e%2e/v1/wishes", "/people/..%2fv1/wishes", "//people/../v1/wishes",
     "/v1/wishes?/people/", "/v1/../people/../v1/wishes", "/v1%2fwishes", "/people;/../v1/wishes",
     "/v1/wishes#/people"],
)  # fmt: skip
def test_no_way_of_writing_a_path_opens_what_is_for_sites(hub: RunningHub, path: str) -> None:
    request = RawRequest(hub.url, f"GET {path} HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n")
    try:
        assert request.status() in {400, 401, 404}
    finally:
        request.close()


def test_a_person_changes_the_password_and_is_logged_out_everywhere_else(
    index: Index, browse: Callable[[], StaffBrowser]
) -> None:
    add_person(index, "Mary")
    here, there = browse(), browse()
    for each in (here, there):
        each.log_in("Mary")
    assert "In 2 browsers" in here.ask(ACCOUNT).body.decode()
    new = "violet-boat-77-river"

    def change(old: str, wanted: str, again: str) -> int:
        return here.post("/people/account/password", ACCOUNT, old=old, new=wanted, again=again).status

    assert change(PASSWORD, new, new + "x") == 400
    assert change(PASSWORD, "short", "short") == 400
    assert change("wrong wrong 7", new, new) == 401
    assert there.ask(WHOAMI).status == 200
    assert change(PASSWORD, new, new) == 303
    assert [here.ask(WHOAMI).status, there.ask(WHOAMI).status] == [200, 401]
    assert [browse().log_in("Mary").status, browse().log_in("Mary", new).status] == [401, 303]


def test_a_stolen_session_can_not_guess_the_password_without_end(
    index: Index, browse: Callable[[], StaffBrowser]
) -> None:
    add_person(index, "Mary")
    browser, new = browse(), "violet-boat-77-river"
    browser.log_in("Mary")
    statuses = [
        browser.post("/people/account/password", ACCOUNT, old=f"wrong wrong {n}", new=new, again=new).status
        for n in range(5)
    ]
    assert statuses == [401, 401, 401, 429, 429]


def test_a_person_ends_their_own_token_and_nobody_elses(index: Index, browse: Callable[[], StaffBrowser]) -> None:
    for name in ("Mary", "Joseph"):
        add_person(index, name)
    hers, his = (add_token(index, name, now_ms()) for name in ("Mary", "Joseph"))
    with index.read() as connection:
        numbers = {one.person: one.id for one in tokens.every(connection)}
    browser = browse()
    browser.log_in("Mary")
    assert browser.post(f"/people/account/tokens/{numbers['Joseph']}/end", ACCOUNT).status == 404
    assert browser.post(f"/people/account/tokens/{numbers['Mary']}/end", ACCOUNT).status == 303
    assert [browse().ask(WHOAMI, **bearer(token)).status for token in (hers, his)] == [401, 200]


def test_every_page_has_the_strict_policy_and_is_kept_nowhere(index: Index, browse: Callable[[], StaffBrowser]) -> None:
    add_person(index, "Mary")
    browser = browse()
    for path in (LOGIN, "/people/nothing", ACCOUNT, "/people/language/xx", "/people/language/fr"):
        headers = browser.ask(path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'; style-src 'self'")
        assert "script" not in headers["content-security-policy"]
        assert headers["cache-control"] == "no-store"
        assert headers["x-frame-options"] == "DENY"
    entered = browser.log_in("Mary")
    assert "<script" not in browser.ask(ACCOUNT).body.decode()
    cookies = entered.headers["set-cookie"]
    assert "HttpOnly" in cookies
    assert "SameSite=Strict" in cookies


def test_behind_https_cookies_are_for_https_alone_and_the_proxy_says_who_asks(tmp_path: Path) -> None:
    staff = Staff(https=True, proxies=("127.0.0.1",))
    config = msgspec.structs.replace(hub_config(tmp_path / "hub"), staff=staff)
    with running_hub(config) as hub:
        index = Index.open(hub.config)
        add_person(index, "Mary")
        index.close()
        first = StaffBrowser(hub.url).ask(LOGIN)
        form = first.headers["set-cookie"]
        assert "; Secure" in form
        token = first.body.partition(b'name="form_token" value="')[2].partition(b'"')[0].decode()
        body = urllib.parse.urlencode({"form_token": token, "name": "Mary", "password": "wrong wrong 7"}).encode()
        headers = {"Cookie": form.partition(";")[0], "X_Forwarded_For": "6.6.6.6, 10.1.2.3"}
        assert StaffBrowser(hub.url).ask(LOGIN, body, **headers).status == 401
        assert [row["address"] for row in hub.rows("SELECT address FROM login_failure")] == ["10.1.2.3"]


def test_the_page_is_in_the_language_of_the_browser_and_then_in_the_chosen_one(
    browse: Callable[[], StaffBrowser], index: Index
) -> None:
    add_person(index, "Mary")
    browser = browse()
    assert "Mot de passe" in browser.ask(LOGIN, Accept_Language="fr-CA,fr;q=0.9").body.decode()
    assert browser.ask("/people/language/fr?next=/people/login").headers["location"] == LOGIN
    assert '<html lang="fr"' in browser.ask(LOGIN, Accept_Language="en").body.decode()


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"a=1&" * 40, "application/x-www-form-urlencoded", 415),
        (b"a" * (BODY_MAX + 1), "application/x-www-form-urlencoded", 413),
        (b'{"name": 1}', "application/json", 415),
        (b"\xff\xfe%zz=%", "application/x-www-form-urlencoded", 400),
        (b"", "", 415),
    ],
)
def test_a_body_that_is_no_form_is_refused_and_the_next_login_works(
    index: Index, browse: Callable[[], StaffBrowser], body: bytes, kind: str, status: int
) -> None:
    add_person(index, "Mary")
    assert browse().ask(LOGIN, body, method="POST", Content_Type=kind).status == status
    assert browse().log_in("Mary").status == 303


def test_what_a_person_types_is_never_markup(index: Index, browse: Callable[[], StaffBrowser]) -> None:
    add_person(index, "Mary")
    page = browse().log_in('"><script>alert(1)</script>', "x", next='/"><b>').body.decode()
    assert "<script" not in page
    assert "<b>" not in page


def test_who_may_not_is_told_so_and_who_is_not_logged_in_changes_nothing(
    browse: Callable[[], StaffBrowser], index: Index
) -> None:
    add_person(index, "Mary")
    stranger = browse()
    assert stranger.post("/people/account/others", LOGIN).status == 401
    assert stranger.ask(ACCOUNT, method="DELETE").status == 405


def test_logins_are_in_the_audit_trail_with_their_address(
    hub: RunningHub, index: Index, browse: Callable[[], StaffBrowser]
) -> None:
    add_person(index, "Mary")
    browser = browse()
    browser.log_in("Mary", "wrong wrong 7")
    browser.log_in("Mary")
    browser.post("/people/logout", ACCOUNT)
    lines = hub.rows("SELECT actor, role, address, action FROM audit_event WHERE action LIKE 'log%' ORDER BY id")
    assert [tuple(line) for line in lines] == [
        ("Mary", "", "127.0.0.1", "login-failed"),
        ("Mary", "reader", "127.0.0.1", "login"),
        ("Mary", "reader", "127.0.0.1", "logout"),
    ]


def test_a_flood_of_logins_holds_up_no_site(hub: RunningHub, index: Index, browse: Callable[[], StaffBrowser]) -> None:
    add_person(index, "Mary")
    with ThreadPoolExecutor(16) as flood:
        tries = [flood.submit(lambda n=n: browse().log_in(f"Person {n}").status) for n in range(48)]
        while not all(one.done() for one in tries):
            assert hub.client().ask("GET", "/v1/wishes?after=0&wait=0").status == 200
        assert {one.result() for one in tries} == {401, 429}
