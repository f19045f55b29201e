"""From what a key demands to SQL that means the same on SQLite and PostgreSQL."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Boolean, ColumnElement, and_, literal, or_
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from appliance.hub.query.matching import Between, Equal, Named, Pattern

_LIKE_SIGNS: Final = re.compile(r"([%_!])")


class Fits(FunctionElement[bool]):
    """A column against a pattern with `*` and `?`, case by case: GLOB on SQLite, LIKE elsewhere."""

    type = Boolean()
    inherit_cache = True
    name = "fits"

    def __init__(self, column: ColumnElement[Any], pattern: str) -> None:
        super().__init__(column, literal(glob_of(pattern)), literal(like_of(pattern)))


def glob_of(pattern: str) -> str:
    """In the words of SQLite's GLOB, in which a bracket opens a set of letters."""
    return pattern.replace("[", "[[]")


def like_of(pattern: str) -> str:
    """In the words of LIKE … ESCAPE '!'."""
    return _LIKE_SIGNS.sub(r"!\1", pattern).replace("*", "%").replace("?", "_")


@compiles(Fits)
def _like(element: Fits, compiler: SQLCompiler, **options: Any) -> str:
    column, _, like = element.clauses
    return f"{compiler.process(column, **options)} LIKE {compiler.process(like, **options)} ESCAPE '!'"


@compiles(Fits, "sqlite")
def _glob(element: Fits, compiler: SQLCompiler, **options: Any) -> str:
    column, glob, _ = element.clauses
    return f"{compiler.process(column, **options)} GLOB {compiler.process(glob, **options)}"


def fits(match: Equal | Pattern | Between, column: ColumnElement[Any]) -> ColumnElement[bool]:
    """One column against what is demanded of it."""
    match match:
        case Equal(values):
            return column == values[0] if len(values) == 1 else column.in_(values)
        case Pattern(patterns):
            return or_(*(Fits(column, pattern) for pattern in patterns))
        case Between(first, last):
            bounds = [column >= first] if first else [column != ""]
            return and_(*bounds, *([column <= last] if last else []))


def fits_name(match: Named, columns: Sequence[ColumnElement[Any]]) -> ColumnElement[bool]:
    """The three columns of a name."""
    if match.anywhere:
        return or_(*(fits(match.anywhere, column) for column in columns))
    return and_(*(fits(group, column) for group, column in zip(match.groups, columns, strict=True) if group))


def fits_list(match: Equal, column: ColumnElement[Any]) -> ColumnElement[bool]:
    """A column that holds a list as `\\CT\\SR\\`: any of its values."""
    return or_(*(Fits(column, f"*\\{value}\\*") for value in match.values))
