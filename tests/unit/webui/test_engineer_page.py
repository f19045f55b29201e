"""What an engineer sees and does on the page."""

from __future__ import annotations

from collections.abc import Callable

from support.browser import Browser
from support.ward import HOUR, PINS, Ward

from appliance.store_forward import views
from appliance.webui import users


def actions_of(ward: Ward) -> list[tuple[str, str]]:
    return [(row["action"], row["detail"]) for row in views.read_audit(ward.db) if row["action"] != "login"]


def read(browser: Browser, path: str) -> str:
    answer = browser.get(path)
    assert answer.status_code == 200
    return answer.get_data(as_text=True)


def test_health_says_what_is_well_and_what_is_not(engineer: Browser, ward: Ward) -> None:
    ward.beats("receive", "compress", "web")
    ward.beats("forward", at=ward.now - HOUR)
    ward.line(up=True, since=ward.now - HOUR, clock_offset_ms=600_000)
    page = read(engineer, "/engineer/")
    assert "running · listening on 11112" in page
    assert "silent since" in page
    assert "A part of this box has stopped: sending to the hub" in page
    assert "10 min away from the hub&#39;s" in page


def test_an_unknown_device_is_allowed_from_the_list_and_described(engineer: Browser, ward: Ward) -> None:
    device = ward.device("CT1", "192.168.1.20")
    assert "Unknown device CT1 at 192.168.1.20 wants to send" in read(engineer, "/")
    assert engineer.post(f"/engineer/devices/{device}/allowed").status_code == 302
    assert "wants to send" not in read(engineer, "/")
    engineer.post(f"/engineer/devices/{device}", "/engineer/devices", name="CT room 1", priority="urgent")
    page = read(engineer, "/engineer/devices")
    assert "CT room 1" in page
    assert "decided by Joseph" in page
    row = views.read_devices(ward.db)[0]
    assert (row["decision"], row["decided_by"], row["priority"]) == ("allowed", "Joseph", 1)
    assert ("decide_device", "allowed: CT1 at 192.168.1.20") in actions_of(ward)


def test_a_device_is_refused(engineer: Browser, ward: Ward) -> None:
    device = ward.device("EVIL", "192.168.1.66")
    engineer.post(f"/engineer/devices/{device}/refused")
    assert views.read_devices(ward.db)[0]["decision"] == "refused"
    assert engineer.post("/engineer/devices/4711/allowed").status_code == 404
    assert engineer.post(f"/engineer/devices/{device}/maybe").status_code == 404
    assert engineer.post(f"/engineer/devices/{device}", priority="now").status_code == 400


def test_a_user_is_added_and_can_log_in(engineer: Browser, ward: Ward, browse: Callable[[], Browser]) -> None:
    answer = engineer.post("/engineer/users", "/engineer/users", name="Chisomo", role="radiographer", pin="731946")
    assert answer.status_code == 302
    assert "Chisomo may log in now." in read(engineer, "/engineer/users")
    assert browse().log_in("Chisomo", "731946").status_code == 302
    assert ("add_user", "Chisomo, radiographer") in actions_of(ward)


def test_a_weak_pin_and_a_taken_name_are_refused_in_words(engineer: Browser, ward: Ward) -> None:
    def add(name: str, pin: str) -> str:
        answer = engineer.post("/engineer/users", "/engineer/users", name=name, role="radiographer", pin=pin)
        assert answer.status_code == 400
        return answer.get_data(as_text=True)

    assert "counts up or down" in add("Chisomo", "123456")
    assert "repeats itself" in add("Chisomo", "000000")
    assert "6 to 16 digits" in add("Chisomo", "12")
    assert "a user of this name already" in add("esther", "731946")
    assert "1 to 40 letters" in add("<b>", "731946")
    assert engineer.post("/engineer/users", name="X", role="root", pin="731946").status_code == 400
    assert len(users.list_users(ward.db, 0)) == 2


def test_sessions_are_ended_and_users_shut_out(engineer: Browser, ward: Ward, browse: Callable[[], Browser]) -> None:
    esther = next(user["id"] for user in users.list_users(ward.db, 0) if user["name"] == "Esther")
    browser = browse()
    browser.log_in("Esther")
    engineer.post(f"/engineer/users/{esther}/end")
    assert browser.get("/").status_code == 302
    browser.log_in("Esther")
    engineer.post(f"/engineer/users/{esther}/disable")
    assert browser.get("/").status_code == 302
    assert browser.log_in("Esther").status_code == 401
    engineer.post(f"/engineer/users/{esther}/enable")
    assert browser.log_in("Esther").status_code == 302
    engineer.post(f"/engineer/users/{esther}/pin", "/engineer/users", pin="731946")
    assert browser.get("/").status_code == 302
    assert browser.log_in("Esther", "731946").status_code == 302
    assert [action for action, _ in actions_of(ward)][:4] == ["set_pin", "enable_user", "login_failed", "disable_user"]


def test_the_last_engineer_stays(engineer: Browser, ward: Ward) -> None:
    joseph = next(user["id"] for user in users.list_users(ward.db, 0) if user["name"] == "Joseph")
    answer = engineer.post(f"/engineer/users/{joseph}/disable")
    assert answer.status_code == 400
    assert "last engineer" in answer.get_data(as_text=True)
    assert engineer.post("/engineer/users/4711/end").status_code == 404


def test_the_audit_trail_is_shown_page_by_page(engineer: Browser, ward: Ward, browse: Callable[[], Browser]) -> None:
    for study in [ward.study("A", "1", images=1) for _ in range(60)]:
        engineer.get(f"/studies/{study}")
    page = read(engineer, "/engineer/audit")
    assert page.count("looked at a study") == 50
    older = page.split('href="/engineer/audit?before=')[1].split('"')[0]
    assert read(engineer, f"/engineer/audit?before={older}").count("looked at a study") == 10
    assert PINS["Joseph"] not in page
    assert engineer.get("/engineer/audit?before=x").status_code == 200
