"""The list of studies and the page of one study, as HTML."""

from __future__ import annotations

import html
import re

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.browser import Browser
from support.ward import HOUR, MINUTE, Ward, busy_morning

from appliance.clock import now_ms
from appliance.store_forward import views


@pytest.fixture
def morning(ward: Ward, radiographer: Browser) -> dict[str, int]:
    ward.db.execute("DELETE FROM session")
    ward.db.execute("DELETE FROM user")
    ids = busy_morning(ward)
    assert radiographer.log_in("Esther").status_code == 302
    return ids


def text_of(page: str) -> str:
    """What a person reads: tags out, entities in, blanks as one."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split()).replace("\u00a0", " ")


def read(browser: Browser, path: str = "/") -> str:
    answer = browser.get(path)
    assert answer.status_code == 200
    return text_of(answer.get_data(as_text=True))


def test_the_first_sentence_is_for_the_whole_box(radiographer: Browser, ward: Ward) -> None:
    ward.beats()
    assert "This box has not reached the hub yet. No study is waiting." in read(radiographer)
    ward.line(up=True, since=ward.now - HOUR)
    assert "No study has come today yet. The line is up." in read(radiographer)
    ward.delivered_study("A", "1", at=ward.now, came=ward.now, settle_ms=1)
    ward.delivered_study("B", "2", at=ward.now, came=ward.now, settle_ms=1)
    assert "All 2 studies of today are at the hub." in read(radiographer)
    ward.study("C", "3")
    assert "The line is up. 1 study is on its way." in read(radiographer)
    ward.line(up=False, since=ward.now)
    assert "1 study is safe on this box and will go by itself." in read(radiographer)
    ward.line(up=False, since=ward.now, problem="E502")
    assert "The hub does not accept this box." in read(radiographer)
    ward.beats("forward", at=ward.now - HOUR)
    assert "Sending has stopped on this box." in read(radiographer)


def test_every_state_is_said_in_words(radiographer: Browser, morning: dict[str, int]) -> None:
    page = read(radiographer)
    for words in (
        "Here Safe on this box; images are still coming",
        "On its way 42% 42% 60 of 140 images at the hub · about 5 min",
        "Waiting for the line 61% 1 study goes first · 61% is there already",
        "At the hub (verified) since",
        "Needs help 2 of 3 images at the hub",
        "Stat",
        "Queens, seen",
    ):
        assert words in page


def test_names_are_family_then_given(radiographer: Browser, morning: dict[str, int]) -> None:
    page = read(radiographer)
    assert "BANDA, Grace (Mrs) MG-4431 CR Chest" in page
    assert "^" not in page


def test_filters_are_in_the_address(radiographer: Browser, morning: dict[str, int]) -> None:
    assert "MWALE" in read(radiographer, "/?state=needs_help")
    at_hub = radiographer.get("/?state=at_hub").get_data(as_text=True)
    assert "BANDA" in at_hub
    assert "KAMANGA" not in at_hub
    assert "KAMANGA" in read(radiographer, "/?q=kama&modality=CT")
    assert "No study is like that." in read(radiographer, "/?q=kama&modality=US")
    assert "No study is like that." in read(radiographer, "/?day=2001-01-01")


@pytest.mark.parametrize(
    "query",
    [
        "state=x",
        "day=x",
        "day=9999-12-31",
        "day=0001-01-01",
        "before=x",
        "before=9-9-9",
        "before=-1",
        "q=%00%ff",
        "modality=%27",
    ],
)
def test_a_filter_that_makes_no_sense_is_no_error(radiographer: Browser, morning: dict[str, int], query: str) -> None:
    assert radiographer.get(f"/?{query}").status_code == 200


def test_older_studies_are_a_page_away_and_the_filter_stays(radiographer: Browser, ward: Ward) -> None:
    for n in range(30):
        ward.study(f"P{n}", str(n), images=1, came=ward.now - n * MINUTE)
    page = radiographer.get("/?modality=CR").get_data(as_text=True)
    assert page.count('<li class="study') == 25
    older = html.unescape(re.findall(r'id="older"[^>]* href="([^"]+)"', page)[0])
    assert "modality=CR" in older
    rest = radiographer.get(older).get_data(as_text=True)
    assert rest.count('<li class="study') == 5
    assert 'id="newest"' in rest


def test_a_study_that_needs_help_can_be_sent_again_from_the_list(
    radiographer: Browser, ward: Ward, morning: dict[str, int]
) -> None:
    study = morning["needs_help"]
    assert f'formaction="/studies/{study}/send-again"' in radiographer.get("/").get_data(as_text=True)
    assert radiographer.post(f"/studies/{study}/send-again").status_code == 302
    assert len(ward.images_of(study, "received")) == 1
    assert "1 image goes again." in read(radiographer)


def test_a_long_list_of_needs_does_not_hide_the_studies(radiographer: Browser, ward: Ward) -> None:
    for n in range(9):
        ward.refused(f"US{n}", "10.0.0.9", "E301", 0xC000)
    page = radiographer.get("/").get_data(as_text=True)
    assert page.split("<details>")[0].count('<li class="help-') == 6
    assert "6 more things need help" in text_of(page)  # nine refusals, and three processes that never beat


def test_a_radiographer_sees_an_unknown_device_and_asks_the_engineer(
    radiographer: Browser, morning: dict[str, int]
) -> None:
    page = read(radiographer)
    assert "Unknown device CT2 at 192.168.1.27 wants to send" in page
    assert "ask the engineer to allow it" in page
    assert "engineer/devices" not in radiographer.get("/").get_data(as_text=True)


def test_a_refusal_leaves_the_list_when_somebody_dealt_with_it(radiographer: Browser, morning: dict[str, int]) -> None:
    assert "OLDUS" in read(radiographer)
    radiographer.post("/refusals/1/dismiss")
    assert "OLDUS" not in read(radiographer)
    assert radiographer.post("/refusals/1/dismiss").status_code == 404


def test_looking_at_a_study_is_in_the_audit_trail(radiographer: Browser, ward: Ward, morning: dict[str, int]) -> None:
    read(radiographer, f"/studies/{morning['at_hub']}")
    row = views.read_audit(ward.db)[0]
    assert (row["actor"], row["action"], row["study_id"]) == ("Esther", "view_study", morning["at_hub"])


def test_a_page_that_reloads_itself_is_one_look_and_no_use_of_the_login(
    radiographer: Browser, ward: Ward, morning: dict[str, int]
) -> None:
    path = f"/studies/{morning['on_its_way']}"
    again = html.unescape(re.findall(r'content="20;url=([^"]+)"', radiographer.get(path).get_data(as_text=True))[0])
    assert again == f"{path}?auto=1"
    ward.db.execute("UPDATE session SET seen_at = seen_at - 3600000")
    seen = ward.db.execute("SELECT seen_at FROM session").fetchone()["seen_at"]
    for _ in range(3):
        assert radiographer.get(again).status_code == 200
    assert ward.db.execute("SELECT seen_at FROM session").fetchone()["seen_at"] == seen
    looks = [row for row in views.read_audit(ward.db) if row["action"] == "view_study"]
    assert len(looks) == 1
    radiographer.get(path)
    assert ward.db.execute("SELECT seen_at FROM session").fetchone()["seen_at"] > seen


def test_the_filter_stays_when_the_list_reloads_itself(radiographer: Browser) -> None:
    page = radiographer.get("/?state=at_hub&q=x%22y").get_data(as_text=True)
    assert 'content="20;url=/?state=at_hub&amp;q=x%22y&amp;auto=1"' in page


def test_the_page_of_a_study_tells_what_happened(radiographer: Browser, morning: dict[str, int]) -> None:
    page = read(radiographer, f"/studies/{morning['on_its_way']}")
    for words in (
        "KAMANGA, David MG-4438 born 12 Apr 1979 male",
        "18.9 MB on the line, 73.6 MB before packing",
        "140 images, 60 at the hub",
        "The hub verified 60 images.",
        "140 images were packed and checked.",
        "Priority changed to Stat.",
        "The first image came, and was safe on this box.",
        "PHIRI, Mercy (Dr)",
    ):
        assert words in page


def test_a_study_is_made_urgent(radiographer: Browser, ward: Ward, morning: dict[str, int]) -> None:
    study = morning["waiting"]
    radiographer.post(f"/studies/{study}/priority", priority="urgent")
    page = read(radiographer, f"/studies/{study}")
    assert "The priority is now Urgent." in page
    assert "Priority changed to Urgent." in page
    row = views.read_audit(ward.db)[1]
    assert (row["actor"], row["action"], row["detail"]) == ("Esther", "change_priority", "routine -> urgent")


def test_a_priority_that_is_none_is_refused(radiographer: Browser, morning: dict[str, int]) -> None:
    assert radiographer.post(f"/studies/{morning['waiting']}/priority", priority="now").status_code == 400
    assert radiographer.post("/studies/4711/priority", priority="stat").status_code == 404


def test_a_conflict_shows_both_and_is_checked_off(radiographer: Browser, ward: Ward, morning: dict[str, int]) -> None:
    study = morning["at_hub"]
    ward.db.execute("UPDATE instance SET conflict = 1 WHERE study_id = ?", (study,))
    page = read(radiographer, f"/studies/{study}")
    assert "An image came twice with different content." in page
    assert page.count("SOP Instance UID") == 2
    radiographer.post(f"/studies/{study}/checked")
    page = read(radiographer, f"/studies/{study}")
    assert "Esther looked at what was in conflict." in page
    assert "At the hub (verified)" in page


def test_the_poll_answers_304_while_nothing_changes(radiographer: Browser, ward: Ward) -> None:
    ward.study("A", "1", came=ward.now - HOUR)
    for _ in range(2):  # twice, should the minute that the strip shows end between the two
        first = radiographer.get("/live")
        page = radiographer.get("/").get_data(as_text=True)
        same = f'"{re.findall(r"data-etag=.([0-9a-f]+)", page)[0]}"' == first.headers["ETag"]
        if same:
            break
    assert same
    again = radiographer.get("/live", If_None_Match=first.headers["ETag"])
    assert again.status_code in {200, 304}
    if now_ms() // MINUTE == ward.now // MINUTE:  # the strip shows the time
        assert again.status_code == 304
        assert again.get_data() == b""
    ward.study("B", "2", came=ward.now - HOUR)
    assert radiographer.get("/live", If_None_Match=first.headers["ETag"]).status_code == 200


def test_the_poll_without_a_login_is_401_and_not_a_page(radiographer: Browser) -> None:
    radiographer.post("/logout")
    assert radiographer.get("/live").status_code == 401


def test_the_list_reloads_itself_where_there_is_no_javascript(radiographer: Browser) -> None:
    assert '<noscript><meta http-equiv="refresh"' in radiographer.get("/").get_data(as_text=True)


def test_a_page_holds_no_style_no_script_and_no_handler_of_its_own(
    radiographer: Browser, morning: dict[str, int]
) -> None:
    for path in ("/", f"/studies/{morning['on_its_way']}", "/login", "/nowhere"):
        page = radiographer.get(path).get_data(as_text=True)
        assert not re.search(r"\sstyle=|<style|\son\w+=|javascript:", page)
        assert all(re.match(r' src="/static/', found) for found in re.findall(r"<script([^>]*)>", page))


hostile = st.one_of(
    st.text(max_size=80),
    st.sampled_from(
        [
            "<script>alert(1)</script>",
            '"><img src=x onerror=alert(1)>',
            "'; DROP TABLE study; --",
            "\u202e\u2066EVIL^TWIN",
            "{{ 7*7 }}{% raw %}",
            "%(name)s %s %d",
            "]]><svg/onload=alert(1)>^&amp;",
            "A\x00B\x1b[2J^C\nD",
        ]
    ),
).map(lambda text: text.encode("utf-8", "replace").decode())


@settings(
    max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)
@given(name=hostile, patient_id=hostile, description=hostile, ae=hostile, body_part=hostile)
def test_no_value_of_a_peer_is_ever_markup(
    radiographer: Browser, ward: Ward, app: Flask, name: str, patient_id: str, description: str, ae: str, body_part: str
) -> None:
    ward.db.execute("DELETE FROM device")
    study = ward.study(
        name,
        patient_id,
        "OT",
        body_part,
        images=1,
        study_description=description,
        calling_ae=ae,
        referring_physician=name,
    )
    ward.quarantine(study, 1, ae[:20])
    ward.device(ae, patient_id)
    plain = set(re.findall(r"<(/?\w+)", radiographer.get("/engineer/").get_data(as_text=True)))
    for path in ("/", f"/studies/{study}", "/live"):
        page = radiographer.get(path).get_data(as_text=True)
        assert "alert(1)</script>" not in page
        assert "<img" not in page
        assert not set(page) & set("\u202a\u202b\u202d\u202e\u2066\u2067\u2068\x00\x1b")
        tags = set(re.findall(r"<(/?[A-Za-z][^\s>]*)", page))
        assert tags <= plain | KNOWN_TAGS
    ward.db.execute("UPDATE study SET last_received_at = 0, conflicts_checked = 9 WHERE id = ?", (study,))
    ward.db.execute("UPDATE instance SET state = 'received' WHERE study_id = ?", (study,))


KNOWN_TAGS = {
    tag
    for name in (
        "html head meta title link body svg symbol path circle use a header nav div form input button span main p h1 "
        "h2 section ul ol li dl dt dd b br bdi time progress label select option noscript script table thead tbody tr "
        "th td article details summary"
    ).split()
    for tag in (name, f"/{name}")
} | {"!doctype"}


@pytest.mark.parametrize(
    "path", ["/studies/{}", "/studies/{}/priority", "/studies/{}/send-again", "/refusals/{}/dismiss"]
)
def test_a_number_that_no_row_can_have_is_not_found(radiographer: Browser, path: str) -> None:
    path = path.format(1 << 64)
    answer = radiographer.get(path) if path[-1].isdigit() else radiographer.post(path, priority="stat")
    assert answer.status_code == 404


def test_a_mistake_of_ours_is_logged_by_its_place_and_never_in_its_words(
    radiographer: Browser,
    morning: dict[str, int],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    def mistake(*_: object) -> None:
        raise ValueError("BANDA^GRACE")

    monkeypatch.setattr(views, "find_study", mistake)
    assert radiographer.get("/studies/1").status_code == 500
    logged = "".join(capfd.readouterr()) + caplog.text
    assert "BANDA" not in logged
    assert "ValueError" in logged
    assert "studies.py:" in logged


def test_a_study_of_which_the_hub_has_enough_says_that_it_stays_here(radiographer: Browser, ward: Ward) -> None:
    ward.beats()
    ward.line(up=True, since=ward.now - HOUR, rate=1000.0)
    parcel = ward.pack(ward.study("A", "1", settle_ms=1, came=ward.now - HOUR))
    ward.db.execute("UPDATE parcel SET held_at = 1 WHERE id = ?", (parcel,))
    assert "Safe on this box; the hub has enough of it for now" in radiographer.get("/").get_data(as_text=True)
