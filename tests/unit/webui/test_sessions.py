"""Logging in, staying in, and being kept out."""

from __future__ import annotations

from support.ward import HOUR, PINS, Ward

from appliance.model.throttle import WINDOW_MS
from appliance.store_forward import views
from appliance.webui import sessions, users

WARD_PC, ELSEWHERE = "192.168.1.50", "192.168.1.66"
TWELVE_HOURS = 12 * HOUR


def attempt(ward: Ward, name: str, pin: str, address: str = WARD_PC, later: int = 0) -> sessions.Answer:
    return sessions.log_in(ward.db, name, pin, address, ward.now + later)


def guess(ward: Ward, name: str, address: str, times: int) -> list[sessions.Answer]:
    return [attempt(ward, name, "000000", address) for _ in range(times)]


def test_the_right_pin_gives_a_token_that_the_database_does_not_hold(ward: Ward) -> None:
    ward.people()
    token = attempt(ward, "esther", PINS["Esther"]).token
    assert token
    assert len(token) >= 43  # 32 random bytes
    assert token not in "".join(map(repr, map(tuple, ward.db.execute("SELECT * FROM session"))))
    found = sessions.find(ward.db, token, TWELVE_HOURS, ward.now, touch=False)
    assert found
    assert (found.name, found.role, found.is_engineer) == ("Esther", "radiographer", False)


def test_a_wrong_pin_and_an_unknown_name_get_the_same_answer(ward: Ward) -> None:
    ward.people()
    assert attempt(ward, "Esther", "850362") == attempt(ward, "Nobody", "850362") == sessions.Answer()


def test_logins_and_failures_are_in_the_audit_trail(ward: Ward) -> None:
    ward.people()
    attempt(ward, "Esther", "000000")
    attempt(ward, "Esther", PINS["Esther"])
    rows = views.read_audit(ward.db)
    assert [(row["actor"], row["action"], row["address"]) for row in rows[:2]] == [
        ("Esther", "login", WARD_PC),
        ("Esther", "login_failed", WARD_PC),
    ]


def test_after_three_wrong_pins_even_the_right_one_must_wait_and_then_it_is_taken(ward: Ward) -> None:
    ward.people()
    guess(ward, "Esther", WARD_PC, 3)
    waiting = attempt(ward, "Esther", PINS["Esther"])
    assert (waiting.token, waiting.wait_ms) == (None, 2000)
    assert attempt(ward, "Esther", PINS["Esther"], later=2001).token


def test_a_waiting_address_can_not_even_try(ward: Ward) -> None:
    ward.people()
    answers = guess(ward, "Esther", WARD_PC, 20)
    assert sum(answer.wait_ms == 0 for answer in answers) == 3
    assert ward.db.execute("SELECT count(*) FROM login_failure").fetchone()[0] == 3


def test_one_address_that_tries_many_names_is_throttled(ward: Ward) -> None:
    ward.people()
    answers = [attempt(ward, f"Name{n}", "000000") for n in range(4)]
    assert answers[-1].wait_ms > 0


def test_one_name_tried_from_many_addresses_is_throttled(ward: Ward) -> None:
    ward.people()
    answers = [attempt(ward, "Esther", "000000", f"10.0.0.{n}") for n in range(4)]
    assert answers[-1].wait_ms > 0


def test_guessing_from_elsewhere_does_not_lock_her_out_at_the_wards_own_computer(ward: Ward) -> None:
    ward.people()
    assert attempt(ward, "Esther", PINS["Esther"], WARD_PC).token
    for n in range(30):
        attempt(ward, "Esther", "000000", f"10.0.0.{n}", later=n * 400_000)
    assert attempt(ward, "Esther", PINS["Esther"], WARD_PC, later=29 * 400_000 + 1).token


def test_logging_in_as_oneself_does_not_give_new_guesses_at_another(ward: Ward) -> None:
    ward.people()
    assert attempt(ward, "Joseph", PINS["Joseph"], WARD_PC).token
    guess(ward, "Joseph", WARD_PC, 2)
    assert attempt(ward, "Esther", PINS["Esther"], WARD_PC).token
    guess(ward, "Joseph", WARD_PC, 1)
    assert attempt(ward, "Joseph", PINS["Joseph"], WARD_PC).wait_ms > 0


def test_old_failures_are_dropped_and_the_table_stays_small(ward: Ward) -> None:
    ward.people()
    guess(ward, "Esther", WARD_PC, 3)
    attempt(ward, "Esther", "000000", later=WINDOW_MS + 1)
    assert ward.db.execute("SELECT count(*) FROM login_failure").fetchone()[0] == 1


def test_a_session_ends_when_it_is_not_used(ward: Ward) -> None:
    ward.people()
    token = attempt(ward, "Esther", PINS["Esther"]).token
    assert token
    half = ward.now + TWELVE_HOURS // 2
    assert sessions.find(ward.db, token, TWELVE_HOURS, half, touch=True)
    assert sessions.find(ward.db, token, TWELVE_HOURS, half + TWELVE_HOURS, touch=False)
    assert sessions.find(ward.db, token, TWELVE_HOURS, half + TWELVE_HOURS + 1, touch=False) is None


def test_a_database_that_can_not_be_written_logs_nobody_out(ward: Ward) -> None:
    ward.people()
    token = attempt(ward, "Esther", PINS["Esther"]).token
    assert token
    ward.db.execute("PRAGMA query_only = ON")  # as a full disk does, SQLite refuses each write
    assert sessions.find(ward.db, token, TWELVE_HOURS, ward.now + HOUR, touch=True)


def test_a_poll_of_the_page_is_no_use_of_it(ward: Ward) -> None:
    ward.people()
    token = attempt(ward, "Esther", PINS["Esther"]).token
    assert token
    assert sessions.find(ward.db, token, TWELVE_HOURS, ward.now + TWELVE_HOURS, touch=False)
    assert sessions.find(ward.db, token, TWELVE_HOURS, ward.now + TWELVE_HOURS + 1, touch=False) is None


def test_logging_out_ends_the_session_in_the_database(ward: Ward) -> None:
    ward.people()
    token = attempt(ward, "Esther", PINS["Esther"]).token
    assert token
    found = sessions.find(ward.db, token, TWELVE_HOURS, ward.now, touch=False)
    assert found
    sessions.log_out(ward.db, found, WARD_PC, ward.now)
    assert sessions.find(ward.db, token, TWELVE_HOURS, ward.now, touch=False) is None


def test_an_engineer_can_end_every_session_of_a_user(ward: Ward) -> None:
    ward.people()
    tokens = [attempt(ward, "Esther", PINS["Esther"], f"10.0.0.{n}").token or "" for n in range(3)]
    esther = next(user for user in users.list_users(ward.db, ward.now - HOUR) if user["name"] == "Esther")
    assert esther["sessions"] == 3
    users.end_sessions(ward.db, esther["id"], ward.now)
    assert [sessions.find(ward.db, token, TWELVE_HOURS, ward.now, touch=False) for token in tokens] == [None] * 3


def test_a_token_that_is_none_finds_nobody(ward: Ward) -> None:
    for token in ("", "x", "\udcff", "a" * 10_000):
        assert sessions.find(ward.db, token, TWELVE_HOURS, ward.now, touch=False) is None
