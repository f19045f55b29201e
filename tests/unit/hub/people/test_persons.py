"""People: added, changed, shut out, and each change in the audit trail."""

from __future__ import annotations

import pytest
from sqlalchemy import select
from support.staff import PASSWORD, SHELL, add_person, add_token, hashed

from appliance.errors import NotFoundError
from appliance.hub.index.database import Index
from appliance.hub.index.scope import Scope
from appliance.hub.index.tables import audit_event
from appliance.hub.people import persons, scopes, sessions, tokens
from appliance.hub.people.mistakes import BadPersonError
from appliance.hub.people.values import Actor, Grant, Role, Visitor

HOUR = 3_600_000


def trail(index: Index) -> list[tuple[str, str]]:
    with index.read() as connection:
        rows = connection.execute(select(audit_event.c.action, audit_event.c.detail).order_by(audit_event.c.id))
        return [(row.action, row.detail) for row in rows]


def test_every_change_is_in_the_audit_trail_with_what_was_before_and_no_secret(index: Index) -> None:
    add_person(index, "Mary")
    with index.write() as connection:
        persons.set_role(connection, "mary", Role.STAFF, 1, SHELL)
        persons.set_scope(connection, "MARY", Grant(sites=("b", "c")), 2, SHELL)
        persons.reset_password(connection, "Mary", hashed(), 3, SHELL)
        persons.revoke(connection, "Mary", 4, SHELL)
    assert trail(index) == [
        ("person.add", "Mary: reader, a"),
        ("person.set-role", "Mary: staff, was reader"),
        ("person.set-sites", "Mary: b, c, was a"),
        ("person.reset-password", "Mary"),
        ("person.revoke", "Mary"),
    ]
    assert PASSWORD not in str(trail(index))


def test_two_people_have_two_names_however_these_are_written(index: Index) -> None:
    add_person(index, "Zoë")
    with pytest.raises(BadPersonError, match="already") as refused:
        add_person(index, "ZOE\u0308")
    assert refused.value.problem == "taken"
    assert len(trail(index)) == 1


def test_a_bad_name_and_a_weak_password_are_refused(index: Index) -> None:
    with pytest.raises(BadPersonError, match="1 to 40"):
        add_person(index, "<b>")
    with pytest.raises(BadPersonError, match="12 to 128"):
        persons.hashed("short", "Mary")


@pytest.mark.parametrize("grant", [Grant(sites=("nowhere",)), Grant(jurisdictions=("nowhere",))])
def test_nobody_is_let_see_a_site_that_there_is_not(index: Index, grant: Grant) -> None:
    with pytest.raises(NotFoundError, match="nowhere"):
        add_person(index, "Mary", grant=grant)
    with index.read() as connection:
        assert persons.every(connection) == []


def test_a_change_of_somebody_who_is_not_there_is_refused(index: Index) -> None:
    with index.write() as connection, pytest.raises(NotFoundError):
        persons.set_role(connection, "Nobody", Role.ADMIN, 0, SHELL)


def test_who_is_shut_out_has_no_session_and_no_token_and_a_new_password_lets_in_without_them(index: Index) -> None:
    row = add_person(index, "Mary")
    token = add_token(index, "Mary", 0)
    with index.write() as connection:
        cookie = sessions.start(connection, row, "browser", "10.0.0.1", 0)
        assert sessions.find(connection, cookie, HOUR, 1)
        assert tokens.find(connection, token, 1)
        persons.revoke(connection, "Mary", 2, SHELL)
        assert not persons.anybody(connection)
        assert sessions.find(connection, cookie, HOUR, 3) is None
        assert tokens.find(connection, token, 3) is None
        persons.reset_password(connection, "Mary", hashed(), 4, SHELL)
        assert persons.anybody(connection)
        assert sessions.find(connection, cookie, HOUR, 5) is None
        assert tokens.find(connection, token, 5) is None


def test_who_changes_the_password_stays_logged_in_here_and_nowhere_else(index: Index) -> None:
    row = add_person(index, "Mary")
    with index.write() as connection:
        here, there = (sessions.start(connection, row, name, "10.0.0.1", 0) for name in ("here", "there"))
        found = sessions.find(connection, here, HOUR, 1)
        assert found
        visitor = Visitor(row, "Mary", Role.READER, Scope(frozenset()), "10.0.0.1", session_id=found.session_id)
        persons.change_password(connection, persons.find(connection, "Mary"), hashed("another one 77"), 2, visitor)
        assert sessions.find(connection, here, HOUR, 3)
        assert sessions.find(connection, there, HOUR, 3) is None
    assert trail(index)[-1] == ("person.change-password", "Mary")


def test_what_was_granted_is_replaced_not_added_to(index: Index) -> None:
    row = add_person(index, "Mary", grant=Grant(everything=True))
    with index.write() as connection:
        persons.set_scope(connection, "Mary", Grant(sites=("b",)), 1, SHELL)
        assert scopes.granted(connection, row) == Grant(sites=("b",))


@pytest.mark.parametrize(
    ("role", "may"),
    [(Role.READER, {"reader"}), (Role.STAFF, {"reader", "staff"}), (Role.ADMIN, {"reader", "staff", "admin"})],
)
def test_a_role_may_what_those_below_it_may(role: Role, may: set[str]) -> None:
    assert {str(needed) for needed in Role if role.may(needed)} == may


def test_what_a_viewer_did_is_told_apart_from_what_its_person_did() -> None:
    visitor = Visitor(1, "Mary", Role.READER, Scope(None), "10.0.0.1", token_id=7)
    assert visitor.actor == Actor("Mary", "token 7", "10.0.0.1")
