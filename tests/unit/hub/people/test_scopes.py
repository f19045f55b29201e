"""Whose studies a person sees."""

from __future__ import annotations

import pytest
from support.filed import file, header
from support.staff import add_person

from appliance.errors import NotFoundError, UsageError
from appliance.hub.index import jurisdictions
from appliance.hub.index.database import Index
from appliance.hub.index.scope import EVERYTHING, Scope
from appliance.hub.people import scopes
from appliance.hub.people.values import Grant
from appliance.hub.query.asking import asked
from appliance.hub.query.keys import Level
from appliance.hub.query.search import total


def scope_of(index: Index, person: int) -> Scope:
    with index.read() as connection:
        return scopes.scope_of(connection, person)


def test_who_was_granted_nothing_sees_nothing(index: Index) -> None:
    assert scope_of(index, 99) == Scope(frozenset())


def test_a_person_of_one_site_sees_that_one_alone(index: Index) -> None:
    assert scope_of(index, add_person(index, "Mary")) == Scope(frozenset({"a"}))


def test_all_sites_are_also_those_that_come_later(index: Index) -> None:
    assert scope_of(index, add_person(index, "Mary", grant=Grant(everything=True))) is EVERYTHING


def test_a_jurisdiction_is_the_sites_that_carry_it_now(index: Index) -> None:
    with index.write() as connection:
        jurisdictions.set_of(connection, "a", ["south"])
        jurisdictions.set_of(connection, "b", ["south", "coast"])
    mary = add_person(index, "Mary", grant=Grant(sites=("c",), jurisdictions=("south",)))
    assert scope_of(index, mary) == Scope(frozenset({"a", "b", "c"}))
    with index.write() as connection:
        jurisdictions.set_of(connection, "a", [])
    assert scope_of(index, mary) == Scope(frozenset({"b", "c"}))


def test_a_jurisdiction_has_a_plain_name_and_a_site_that_there_is(index: Index) -> None:
    with index.write() as connection:
        with pytest.raises(UsageError):
            jurisdictions.set_of(connection, "a", ["South Coast"])
        with pytest.raises(NotFoundError):
            jurisdictions.set_of(connection, "nowhere", ["south"])
        assert jurisdictions.names(connection) == set()


def test_a_question_of_a_person_finds_the_studies_that_the_person_sees(index: Index) -> None:
    file(index, "a", header(1))
    file(index, "b", header(2))
    people = [add_person(index, "Mary"), add_person(index, "Jane", grant=Grant(everything=True)), 99]
    everything = asked(Level.STUDY, {}).query
    with index.read() as connection:
        found = [total(connection, scopes.scope_of(connection, person), everything) for person in people]
    assert found == [1, 2, 0]
