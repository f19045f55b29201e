"""Who may use the page."""

from __future__ import annotations

import pytest
from support.ward import Ward

from appliance.errors import NotFoundError, UserError
from appliance.store_forward import views
from appliance.webui import sessions, users

DAY = 86_400_000


def log_in(ward: Ward, name: str, pin: str) -> str | None:
    return sessions.log_in(ward.db, name, pin, "10.0.0.1", ward.now).token


def test_there_is_nobody_until_somebody_is_added(ward: Ward) -> None:
    assert not users.anybody(ward.db)
    users.add_user(ward.db, "Esther", "radiographer", "274918", ward.now)
    assert users.anybody(ward.db)
    assert views.read_audit(ward.db)[0]["action"] == "add_user"


@pytest.mark.parametrize("name", ["", " ", "x" * 41, "<b>", "a\nb", "_", "-a", "a/b", "\u202ea"])
def test_a_name_that_is_none_is_refused(ward: Ward, name: str) -> None:
    if name == "a\nb":
        users.add_user(ward.db, name, "engineer", "274918", ward.now)
        assert users.list_users(ward.db, 0)[0]["name"] == "a b"
        return
    with pytest.raises(UserError):
        users.add_user(ward.db, name, "engineer", "274918", ward.now)


def test_names_differ_by_more_than_capitals(ward: Ward) -> None:
    users.add_user(ward.db, "Esther", "engineer", "274918", ward.now)
    with pytest.raises(UserError) as raised:
        users.add_user(ward.db, "ESTHER", "engineer", "850362", ward.now)
    assert raised.value.hint


def test_a_weak_pin_is_refused_when_adding_and_when_changing(ward: Ward) -> None:
    with pytest.raises(UserError):
        users.add_user(ward.db, "Esther", "engineer", "123456", ward.now)
    users.add_user(ward.db, "Esther", "engineer", "274918", ward.now)
    with pytest.raises(UserError):
        users.set_pin(ward.db, "Esther", "000000", ward.now)
    assert log_in(ward, "Esther", "274918")


def test_a_new_pin_ends_every_session_and_the_old_pin(ward: Ward) -> None:
    users.add_user(ward.db, "Esther", "engineer", "274918", ward.now)
    token = log_in(ward, "Esther", "274918")
    assert token
    users.set_pin(ward.db, "esther", "850362", ward.now)
    assert sessions.find(ward.db, token, DAY, ward.now, touch=False) is None
    assert log_in(ward, "Esther", "274918") is None
    assert log_in(ward, "Esther", "850362")


def test_who_is_shut_out_is_out_at_once_until_let_in_again(ward: Ward) -> None:
    ward.people()
    token = log_in(ward, "Esther", "274918")
    assert token
    esther = next(user["id"] for user in users.list_users(ward.db, 0) if user["name"] == "Esther")
    users.set_disabled(ward.db, esther, True, ward.now)
    assert sessions.find(ward.db, token, DAY, ward.now, touch=False) is None
    assert log_in(ward, "Esther", "274918") is None
    users.set_disabled(ward.db, esther, False, ward.now)
    assert log_in(ward, "Esther", "274918")


def test_the_last_engineer_cant_be_shut_out(ward: Ward) -> None:
    ward.people()
    joseph = next(user["id"] for user in users.list_users(ward.db, 0) if user["name"] == "Joseph")
    with pytest.raises(UserError):
        users.set_disabled(ward.db, joseph, True, ward.now)
    users.add_user(ward.db, "Second", "engineer", "731946", ward.now)
    users.set_disabled(ward.db, joseph, True, ward.now)


def test_a_user_who_is_not_there_is_said(ward: Ward) -> None:
    with pytest.raises(NotFoundError):
        users.set_pin(ward.db, "Nobody", "274918", ward.now)
    with pytest.raises(NotFoundError):
        users.end_sessions(ward.db, 7, ward.now)
