"""The login page, and what stands before everything else."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask
from support.browser import Browser
from support.ward import Ward, busy_morning

from appliance.webui.app import BODY_MAX

Browse = Callable[[], Browser]


def test_a_box_without_users_says_how_to_make_one(ward: Ward, browse: Browse) -> None:
    text = browse().get("/login").get_data(as_text=True)
    assert "appliance user add NAME --role engineer" in text
    assert 'name="pin"' not in text


def test_a_person_logs_in_and_out(ward: Ward, browse: Browse) -> None:
    ward.people()
    browser = browse()
    assert browser.get("/").headers["Location"].startswith("/login")
    assert browser.log_in("Esther").headers["Location"] == "/"
    assert browser.get("/").status_code == 200
    assert browser.post("/logout").headers["Location"] == "/login"
    assert browser.get("/").status_code == 302


def test_the_login_leads_to_where_the_person_wanted_to_go(ward: Ward, browse: Browse) -> None:
    ward.people()
    browser = browse()
    place = browser.get("/?state=at_hub&q=x").headers["Location"]
    token = browser.token(place)
    answer = browser.client.post(
        "/login", data={"csrf_token": token, "name": "Esther", "pin": "274918", "next": "/?state=at_hub&q=x"}
    )
    assert answer.headers["Location"] == "/?state=at_hub&q=x"


@pytest.mark.parametrize(
    "target",
    ["//evil.example", "https://evil.example/", "/\\evil.example", "\\\\evil", "javascript:alert(1)", "/\r\nX: y", ""],
)
def test_the_login_never_leads_somewhere_else(ward: Ward, browse: Browse, target: str) -> None:
    ward.people()
    browser = browse()
    answer = browser.post("/login", "/login", name="Esther", pin="274918", next=target)
    assert answer.headers["Location"] == "/"
    assert browser.client.get("/language/fr", query_string={"next": target}).headers["Location"] == "/"


def test_a_wrong_pin_is_said_without_saying_what_was_wrong(ward: Ward, browse: Browse) -> None:
    ward.people()
    wrong_pin, wrong_name = browse().log_in("Esther", "850361"), browse().log_in("Nobody", "850361")
    assert wrong_pin.status_code == wrong_name.status_code == 401
    assert "Name or PIN is wrong." in wrong_pin.get_data(as_text=True)
    assert "Name or PIN is wrong." in wrong_name.get_data(as_text=True)


def test_too_many_wrong_pins_must_wait(ward: Ward, browse: Browse) -> None:
    ward.people()
    browser = browse()
    assert browser.log_in("Esther", "850361").status_code == 401
    ward.db.executemany("INSERT INTO login_failure (at, address, name) VALUES (?, '127.0.0.1', 'x')", [(ward.now,)] * 9)
    answer = browser.log_in("Esther")
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["Retry-After"]) <= 256
    assert "Too many wrong PINs. Wait" in answer.get_data(as_text=True)


def test_the_cookies_are_for_this_page_alone(ward: Ward, browse: Browse) -> None:
    ward.people()
    answer = browse().log_in("Esther")
    cookies = answer.headers.getlist("Set-Cookie")
    assert any(cookie.startswith("login=") for cookie in cookies)
    assert all("HttpOnly" in cookie and "SameSite=Strict" in cookie for cookie in cookies)


PLACES = ("/", "/live", "/studies/1", "/engineer/", "/engineer/devices", "/engineer/users", "/engineer/audit")


def test_every_page_but_the_login_needs_one(ward: Ward, browse: Browse, app: Flask) -> None:
    busy_morning(ward)
    public = {"login.form", "login.enter", "login.leave", "login.choose", "static"}
    for rule in app.url_map.iter_rules():
        if rule.endpoint in public:
            continue
        values = {"study_id": 1, "device_id": 1, "user_id": 1, "refused_id": 1, "decision": "allowed", "change": "end"}
        with app.test_request_context():
            path = app.url_for(rule.endpoint, **{name: values[name] for name in rule.arguments})
        browser = browse()
        readable = "GET" in (rule.methods or set())
        answer = browser.get(path) if readable else browser.post(path, "/login")
        assert answer.status_code in {302, 401}, path
        assert "BANDA" not in answer.get_data(as_text=True)
    assert ward.db.execute("SELECT decision FROM device").fetchone()["decision"] is None


def test_a_radiographer_may_not_do_what_an_engineer_does(radiographer: Browser, ward: Ward) -> None:
    device = ward.device("CT1", "192.168.1.20")
    for path in PLACES[3:]:
        assert radiographer.get(path).status_code == 403
    for path in (f"/engineer/devices/{device}/allowed", f"/engineer/devices/{device}", "/engineer/users/1/disable"):
        assert radiographer.post(path).status_code == 403
    assert radiographer.post("/engineer/users", name="Eve", role="engineer", pin="731946").status_code == 403
    assert ward.db.execute("SELECT decision FROM device").fetchone()["decision"] is None


def test_every_change_needs_the_forms_token(engineer: Browser, app: Flask, ward: Ward) -> None:
    ids = busy_ids(ward)
    for rule in app.url_map.iter_rules():
        if "POST" not in (rule.methods or set()):
            continue
        with app.test_request_context():
            path = app.url_for(rule.endpoint, **{name: ids[name] for name in rule.arguments})
        for data in ({}, {"csrf_token": "x" * 50}):
            answer = engineer.client.post(path, data={**data, "priority": "stat", "name": "Eve", "pin": "731946"})
            assert answer.status_code == 400, path
            assert "Nothing was changed" in answer.get_data(as_text=True)
    assert (
        ward.db.execute("SELECT count(*) FROM audit_event WHERE action NOT IN ('add_user', 'login')").fetchone()[0] == 0
    )


def busy_ids(ward: Ward) -> dict[str, int | str]:
    study, device = ward.study("A", "1"), ward.device("CT1", "10.0.0.9")
    refused = ward.refused("US1", "10.0.0.9", "E301", 0xC000)
    return {
        "study_id": study,
        "device_id": device,
        "refused_id": refused,
        "user_id": 1,
        "decision": "allowed",
        "change": "disable",
        "code": "fr",
    }


def test_a_body_beyond_the_ceiling_is_refused(ward: Ward, browse: Browse) -> None:
    ward.people()
    browser = browse()
    answer = browser.post("/login", "/login", name="x" * (BODY_MAX + 1), pin="1")
    assert answer.status_code == 413
    assert browser.log_in("Esther").status_code == 302


def test_every_answer_has_the_strict_headers(radiographer: Browser) -> None:
    for path in ("/", "/login", "/live", "/nowhere", "/static/style.css", "/studies/99"):
        headers = radiographer.get(path).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["X-Content-Type-Options"] == "nosniff"
        stored = "max-age" if path.startswith("/static") else "no-store"
        assert stored in headers["Cache-Control"]


def test_no_address_is_made_of_the_host_that_a_request_claims(ward: Ward, browse: Browse) -> None:
    ward.people()
    browser = browse()
    for path in ("/login", "/", "/engineer", "//login", "/studies//1", "/language/fr"):
        answer = browser.get(path, Host="evil.example", X_Forwarded_Host="evil.example")
        assert "evil.example" not in answer.get_data(as_text=True) + str(answer.headers)


def test_an_unknown_page_and_a_wrong_method_are_answered_in_words(radiographer: Browser) -> None:
    assert radiographer.get("/nowhere").status_code == 404
    assert "no such page" in radiographer.get("/studies/99").get_data(as_text=True)
    assert radiographer.get("/logout").status_code == 405
    assert radiographer.get("/studies/99999999999999999999999").status_code == 404
