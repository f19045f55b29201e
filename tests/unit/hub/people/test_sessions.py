"""Sessions and tokens: how long they live, and how they end."""

from __future__ import annotations

import pytest
from sqlalchemy import select
from support.staff import SHELL, add_person, add_token

from appliance.errors import NotFoundError, UsageError
from appliance.hub.index.database import Index
from appliance.hub.people import persons, sessions, tokens
from appliance.hub.people.tables import session as session_table
from appliance.hub.people.tables import token as token_table

NOW = 1_795_492_800_000
HOUR = 3_600_000
DAY = 24 * HOUR


@pytest.fixture
def mary(index: Index) -> int:
    return add_person(index, "Mary")


def start(index: Index, person: int, now: int = NOW, browser: str = "browser") -> str:
    with index.write() as connection:
        return sessions.start(connection, person, browser, "10.0.0.1", now)


def is_open(index: Index, cookie: str, now: int) -> bool:
    with index.read() as connection:
        return sessions.find(connection, cookie, 12 * HOUR, now) is not None


def test_a_session_that_is_not_used_ends(index: Index, mary: int) -> None:
    cookie = start(index, mary)
    assert is_open(index, cookie, NOW + 12 * HOUR)
    assert not is_open(index, cookie, NOW + 12 * HOUR + 1)


def test_a_session_that_is_used_all_the_time_ends_after_a_week(index: Index, mary: int) -> None:
    cookie = start(index, mary)
    for day in range(15):
        at = NOW + day * 12 * HOUR
        with index.write() as connection:
            found = sessions.find(connection, cookie, 12 * HOUR, at)
            if found:
                sessions.touch(connection, found.session_id, at)
        assert (found is not None) == (day <= 14)
    assert not is_open(index, cookie, NOW + 7 * DAY + 1)


def test_a_clock_that_jumps_far_ends_a_session_either_way(index: Index, mary: int) -> None:
    cookie = start(index, mary)
    assert not is_open(index, cookie, NOW - 13 * HOUR)
    assert is_open(index, cookie, NOW - HOUR)


def test_use_is_to_be_noted_once_a_minute(index: Index, mary: int) -> None:
    cookie = start(index, mary)
    with index.read() as connection:
        at = [sessions.find(connection, cookie, HOUR, NOW + ms) for ms in (59_000, 61_000)]
    assert [found.stale for found in at if found] == [False, True]


def test_neither_cookie_nor_token_is_in_the_database(index: Index, mary: int) -> None:
    cookie, token = start(index, mary), add_token(index, "Mary", NOW)
    with index.read() as connection:
        kept = str(connection.execute(select(session_table)).all() + connection.execute(select(token_table)).all())
    assert cookie not in kept
    assert token not in kept
    assert token.removeprefix("viewer_") not in kept
    assert not is_open(index, "", NOW)
    assert not is_open(index, cookie[:-1], NOW)


def test_a_browser_is_known_for_half_a_year_after_its_last_session(index: Index, mary: int) -> None:
    start(index, mary, browser="hers")
    other = add_person(index, "Joseph")
    with index.read() as connection:
        assert sessions.is_known(connection, mary, "hers")
        assert not sessions.is_known(connection, other, "hers")
        assert not sessions.is_known(connection, mary, "another")
    start(index, other, NOW + 181 * DAY, "his")
    with index.read() as connection:
        assert not sessions.is_known(connection, mary, "hers")


def find(index: Index, token: str, now: int) -> tokens.Found | None:
    with index.read() as connection:
        return tokens.find(connection, token, now)


def test_a_token_ends_with_its_day(index: Index, mary: int) -> None:
    token = add_token(index, "Mary", NOW, days=2)
    assert find(index, token, NOW + 2 * DAY - 1)
    assert find(index, token, NOW + 2 * DAY) is None


def test_a_token_that_is_ended_is_so_at_once_and_the_others_stay(index: Index, mary: int) -> None:
    first, second = (add_token(index, "Mary", NOW) for _ in range(2))
    found = find(index, first, NOW)
    assert found
    with index.write() as connection:
        tokens.end(connection, found.token_id, NOW, SHELL)
    assert find(index, first, NOW) is None
    assert find(index, second, NOW)


def test_nobody_ends_the_token_of_another(index: Index, mary: int) -> None:
    token, other = add_token(index, "Mary", NOW), add_person(index, "Joseph")
    found = find(index, token, NOW)
    assert found
    with index.write() as connection, pytest.raises(NotFoundError):
        tokens.end(connection, found.token_id, NOW, SHELL, of=other)
    assert find(index, token, NOW)


@pytest.mark.parametrize("label", ["", "  ", "a\nb", "x" * 65, "\u202etxt"])
def test_a_label_is_something_to_read(index: Index, mary: int, label: str) -> None:
    with index.write() as connection, pytest.raises(UsageError):
        tokens.add(connection, persons.find(connection, "Mary").id, "Mary", label, 1, NOW, SHELL)


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer x", "Basic dTpw", "Bearer site-1." + "A" * 43, "Bearer viewer_" + "A" * 44,
               "Bearer viewer_" + "A" * 42 + "é", "Bearer viewer_" + "A" * 43 + "\n"]
)  # fmt: skip
def test_what_is_no_token_of_ours_is_not_looked_up(header: str) -> None:
    assert tokens.parse_bearer(header) is None
