"""Queries in `.sql` files: found by name, each one statement that SQLite understands."""

from __future__ import annotations

import re
import sqlite3
from importlib import resources
from pathlib import Path

import pytest

from appliance.named_sql import NamedSql
from appliance.store_forward.database import migrate


def test_a_query_is_found_by_its_name() -> None:
    assert NamedSql("appliance.store_forward.sql", "queue.sql")["parcel_state"].startswith("SELECT state FROM parcel")


def test_a_query_that_is_not_there_is_said_so() -> None:
    with pytest.raises(LookupError, match=r"queue.sql has no query named nothing"):
        NamedSql("appliance.store_forward.sql", "queue.sql")["nothing"]


_CHOSEN = re.compile(r"\{\w+\}")  # where a view puts one of its own fixed conditions
_STATEMENT = re.compile(r"^(WITH|SELECT|INSERT|UPDATE|DELETE)\b", re.MULTILINE)
PACKAGES = ["appliance.store_forward.sql", "appliance.webui.sql"]
FILES = [
    (package, entry.name)
    for package in PACKAGES
    for entry in sorted(resources.files(package).iterdir(), key=lambda entry: entry.name)
    if Path(entry.name).suffix == ".sql"
]


@pytest.mark.parametrize(("package", "file"), FILES)
def test_every_query_fits_the_tables(package: str, file: str) -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    queries = NamedSql(package, file)
    assert queries.names()
    for name in queries.names():
        assert _problem(connection, _whole(name, queries[name])) == "", name
    connection.close()


def _whole(name: str, query: str) -> str:
    """A statement. What is none is put into others by the code: columns of a parcel, or a condition on a study."""
    if _STATEMENT.search(query):
        return query
    if name.endswith("_columns"):
        return f"SELECT {query} FROM parcel JOIN study ON study.id = parcel.study_id"
    return f"SELECT 1 FROM study AS s WHERE {query}"


def _problem(connection: sqlite3.Connection, query: str) -> str:
    """What SQLite says when it prepares the query; a parameter without a value is no problem here."""
    try:
        connection.execute("EXPLAIN " + _CHOSEN.sub("1", query), _Anything())
    except sqlite3.Error as error:
        return str(error)
    return ""


class _Anything(dict[str, None]):
    def __missing__(self, _name: str) -> None:
        return None
