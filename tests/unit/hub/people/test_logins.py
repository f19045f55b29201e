"""What a try to log in costs: guessing is slow, and nobody is locked out by others."""

from __future__ import annotations

import pytest
from sqlalchemy import select
from support.staff import SHELL, add_person, hashed

from appliance.hub.index.database import Index
from appliance.hub.index.tables import audit_event
from appliance.hub.people import logins, persons, sessions
from appliance.hub.people.logins import ADDRESS_FREE, ADDRESS_LONGEST_MS, Try, Wait
from appliance.hub.people.tables import login_failure

NOW = 1_795_492_800_000
HERE, THERE = "10.0.0.1", "10.9.9.9"
SECOND = 1000


@pytest.fixture
def mary(index: Index) -> int:
    return add_person(index, "Mary")


def begin(index: Index, name: str = "Mary", address: str = HERE, now: int = NOW, browser: str = "") -> Try | Wait:
    with index.write() as connection:
        return logins.begin(connection, name, browser, address, now)


def fail(index: Index, times: int, name: str = "Mary", address: str = HERE, browser: str = "", now: int = NOW) -> None:
    """Wrong passwords, each as soon as it may be tried; as if all were long enough ago to be counted at `now`."""
    for number in range(times):
        tried = begin(index, name, address, now - (times - number) * 1, browser)
        assert isinstance(tried, Try), number
        settle(index, tried, False)


def settle(index: Index, tried: Try, right: bool, now: int = NOW) -> tuple[str, str] | None:
    with index.write() as connection:
        person = logins.settle(connection, tried, right, now)
        return logins.start(connection, person, tried, now) if person else None


def guess(index: Index, name: str, address: str, hours: float, browser: str = "") -> int:
    """How many guesses somebody gets who tries again as soon as it may be."""
    now, tries = NOW - int(hours * 3_600_000), 0
    while now < NOW:
        answer = begin(index, name, address, now, browser)
        now += answer.ms if isinstance(answer, Wait) else 1
        tries += isinstance(answer, Try)
        assert tries < 200, "guessing is not slow"
    return tries


def test_the_right_password_begins_a_session_and_the_browser_is_known_again(index: Index, mary: int) -> None:
    tried = begin(index)
    assert isinstance(tried, Try)
    begun = settle(index, tried, True)
    assert begun
    with index.read() as connection:
        found = sessions.find(connection, begun[0], 1000, NOW)
        assert found
        assert found.person_id == mary
        assert sessions.is_known(connection, mary, begun[1])
        assert connection.execute(select(login_failure)).all() == []


def test_a_name_that_there_is_not_waits_like_one_that_there_is(index: Index, mary: int) -> None:
    fail(index, 3)
    fail(index, 3, "Nobody", THERE)
    known, unknown = begin(index, "Mary", "10.0.0.2"), begin(index, "Nobody", "10.0.0.3")
    assert isinstance(known, Wait)
    assert known == unknown


def test_a_try_counts_before_its_password_is_looked_at(index: Index, mary: int) -> None:
    answers = [begin(index) for _ in range(6)]
    assert [type(answer) for answer in answers] == [Try] * 3 + [Wait] * 3


def test_guessing_one_name_is_slow_from_however_many_addresses(index: Index, mary: int) -> None:
    assert guess(index, "Mary", HERE, 0.5) < 20
    assert isinstance(begin(index, "mary", "10.7.7.7"), Wait)


def test_an_address_may_hold_a_hospital_so_it_has_more_room_and_shorter_waits(index: Index, mary: int) -> None:
    for number in range(ADDRESS_FREE - 1):
        fail(index, 1, f"Person {number}")
    assert isinstance(begin(index, "One", now=NOW + 1), Try)
    answer = begin(index, "Two", now=NOW + 1)
    assert isinstance(answer, Wait)
    assert answer.ms <= ADDRESS_LONGEST_MS
    assert isinstance(begin(index, "Two", THERE, NOW + 1), Try)


def test_nobody_who_guesses_elsewhere_or_at_the_next_desk_locks_a_known_browser_out(index: Index, mary: int) -> None:
    first = begin(index, now=NOW - 9_000_000)
    assert isinstance(first, Try)
    begun = settle(index, first, True, NOW - 9_000_000)
    assert begun
    guess(index, "Mary", HERE, 2)
    guess(index, "Mary", THERE, 1)
    assert isinstance(begin(index), Wait)
    answer = begin(index, browser=begun[1])
    assert isinstance(answer, Try)
    assert settle(index, answer, True)


def test_in_a_known_browser_guessing_is_as_slow_and_holds_up_nobody_elsewhere(index: Index, mary: int) -> None:
    first = begin(index, now=NOW - 9_000_000)
    assert isinstance(first, Try)
    begun = settle(index, first, True, NOW - 9_000_000)
    assert begun
    assert guess(index, "Mary", HERE, 1, begun[1]) < 30
    assert isinstance(begin(index, browser=begun[1]), Wait)
    assert isinstance(begin(index, address=THERE), Try)


def test_a_browser_that_another_person_is_known_in_gives_nothing(index: Index, mary: int) -> None:
    add_person(index, "Joseph")
    first = begin(index, "Joseph", now=NOW - 9_000_000)
    assert isinstance(first, Try)
    begun = settle(index, first, True, NOW - 9_000_000)
    assert begun
    guess(index, "Mary", THERE, 1)
    assert isinstance(begin(index, "Mary", browser=begun[1]), Wait)


def test_who_guesses_does_not_start_afresh_by_logging_in_as_themselves(index: Index, mary: int) -> None:
    add_person(index, "Joseph")
    fail(index, 3, now=NOW - 60 * SECOND)
    own = begin(index, "Joseph")
    assert isinstance(own, Try)
    assert settle(index, own, True)
    with index.read() as connection:
        assert len(connection.execute(select(login_failure)).all()) == 3


def test_every_wait_ends_and_what_is_an_hour_old_is_forgotten(index: Index, mary: int) -> None:
    guess(index, "Mary", HERE, 1)
    answer = begin(index)
    assert isinstance(answer, Wait)
    assert answer.ms <= 300 * SECOND
    assert isinstance(begin(index, now=NOW + answer.ms), Try)
    assert isinstance(begin(index, now=NOW + 7_200 * SECOND), Try)
    with index.read() as connection:
        assert len(connection.execute(select(login_failure)).all()) == 1


def test_a_clock_that_jumped_back_locks_nobody_out(index: Index, mary: int) -> None:
    fail(index, 3, now=NOW + 86_400 * SECOND)
    assert isinstance(begin(index), Try)


@pytest.mark.parametrize("change", ["revoke", "reset"])
def test_who_was_changed_while_the_password_was_looked_at_is_not_let_in(index: Index, mary: int, change: str) -> None:
    tried = begin(index)
    assert isinstance(tried, Try)
    with index.write() as connection:
        if change == "revoke":
            persons.revoke(connection, "Mary", NOW, SHELL)
        else:
            persons.reset_password(connection, "Mary", hashed("another one 77"), NOW, SHELL)
    assert settle(index, tried, True) is None


def test_who_is_shut_out_has_no_password_to_be_right(index: Index, mary: int) -> None:
    with index.write() as connection:
        persons.revoke(connection, "Mary", NOW, SHELL)
    tried, unknown = begin(index), begin(index, "Nobody", THERE)
    assert isinstance(tried, Try)
    assert isinstance(unknown, Try)
    assert tried.password_hash is unknown.password_hash is None


def test_each_try_is_in_the_audit_trail_and_a_password_in_the_wrong_field_is_not(index: Index, mary: int) -> None:
    fail(index, 1)
    fail(index, 1, "my secret password 9", THERE)
    own = begin(index, now=NOW)
    assert isinstance(own, Try)
    settle(index, own, True)
    with index.read() as connection:
        lines = connection.execute(select(audit_event).where(audit_event.c.action.like("login%"))).all()
        failures = str(connection.execute(select(login_failure)).all())
    assert [(line.actor, line.action, line.address) for line in lines] == [
        ("Mary", "login-failed", HERE),
        ("unknown name", "login-failed", THERE),
        ("Mary", "login", HERE),
    ]
    assert "secret" not in failures
