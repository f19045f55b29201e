"""What the value of a key demands (PS3.4 C.2.2.2), in normal form. Pure.

`match_of` gives a `Match`, or None for universal matching. The wildcards of a `Pattern` are `*` and `?`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

from appliance.hub.index.forms import NO_NUMBER, date_form, folded, number_form, text_form, time_span
from appliance.part10.identity import valid_uid

VALUES_MAX: Final = 10_000  # of one key; a study of so many instances can still be asked for by their UIDs
STARS_MAX: Final = 16  # in one value
_STARS: Final = re.compile(r"\*+")


class Kind(StrEnum):
    """How values of a key are compared."""

    TEXT = "text"
    NAME = "name"
    UID = "uid"
    DATE = "date"
    TIME = "time"
    NUMBER = "number"
    ITEMS = "items"


class MalformedKeyError(Exception):
    """A value that the standard does not allow in a question. `reason` holds nothing of it."""

    def __init__(self, reason: str, tag: int = 0) -> None:
        super().__init__(reason)
        self.reason, self.tag = reason, tag


@dataclass(frozen=True, slots=True)
class Equal:
    """Any of these."""

    values: tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Pattern:
    """Any of these, with wildcards."""

    patterns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Between:
    """From `first` to `last`, both included; empty: no bound. An absent value is never between."""

    first: str
    last: str


@dataclass(frozen=True, slots=True)
class Named:
    """A person. `groups`: what the alphabetic, ideographic and phonetic group must be. `anywhere`: any of the three."""

    groups: tuple[Equal | Pattern | None, Equal | Pattern | None, Equal | Pattern | None] = (None, None, None)
    anywhere: Equal | Pattern | None = None


@dataclass(frozen=True, slots=True)
class Items:
    """One item of the sequence fits all of these: tag of the key in the item, what it demands."""

    keys: tuple[tuple[int, Equal | Pattern], ...]


Match: TypeAlias = Equal | Pattern | Between | Named | Items


def match_of(kind: Kind, values: Sequence[str]) -> Match | None:
    """What these values demand; None: anything. Raises MalformedKeyError. Keys of a sequence's item have own kinds."""
    stated = [value for value in values if value.strip()]
    if len(stated) > VALUES_MAX:
        raise MalformedKeyError(f"more than {VALUES_MAX} values")
    if not stated or (kind is not Kind.NAME and any(_is_universal(value) for value in stated)):
        return None
    return _READERS[kind](stated)


def _is_universal(value: str) -> bool:
    return not value.strip().strip("*")


def _uids(values: Sequence[str]) -> Match:
    uids = [value.strip() for value in values]
    if not all(map(valid_uid, uids)):
        raise MalformedKeyError("not a UID, nor a list of UIDs")
    return Equal(tuple(uids))


def _numbers(values: Sequence[str]) -> Match:
    numbers = tuple(map(number_form, values))
    if NO_NUMBER in numbers:
        raise MalformedKeyError("not a number")
    return Equal(numbers)


def _texts(values: Sequence[str]) -> Equal | Pattern:
    return _literal_or_pattern([text_form(value) for value in values])


def _literal_or_pattern(values: Sequence[str]) -> Equal | Pattern:
    if not any(_has_wildcard(value) for value in values):
        return Equal(tuple(values))
    patterns = tuple(_STARS.sub("*", value) for value in values)
    if any(pattern.count("*") > STARS_MAX for pattern in patterns):
        raise MalformedKeyError(f"more than {STARS_MAX} wildcards in a value")
    return Pattern(patterns)


def _has_wildcard(value: str) -> bool:
    return "*" in value or "?" in value


def _dates(values: Sequence[str]) -> Match:
    if len(values) == 1 and "-" in values[0]:
        return _range(values[0], date_form, date_form)
    dates = tuple(map(date_form, values))
    if not all(dates):
        raise MalformedKeyError("not a date, nor a range of dates")
    return Equal(dates)


def _times(values: Sequence[str]) -> Match:
    """A time stands for all that it does not state: 1030 is a minute long."""
    if len(values) != 1:
        raise MalformedKeyError("more than one time")
    if "-" in values[0]:
        return _range(values[0], lambda text: time_span(text)[0], lambda text: time_span(text)[1])
    first, last = time_span(values[0])
    if not first:
        raise MalformedKeyError("not a time, nor a range of times")
    return Between(first, last)


def _range(value: str, first: Callable[[str], str], last: Callable[[str], str]) -> Between:
    """PS3.4 C.2.2.2.5."""
    start, _, end = value.partition("-")
    between = Between(first(start), last(end))
    is_whole = all(bool(form) == bool(text.strip()) for form, text in ((between.first, start), (between.last, end)))
    if not is_whole or not (between.first or between.last):
        raise MalformedKeyError("not a range")
    return between


def _names(values: Sequence[str]) -> Match | None:
    """One group given may be any of the three; several are each the one in its place."""
    if len(values) > 1:
        raise MalformedKeyError("more than one name")
    groups = values[0].split("=")
    if len(groups) > 3:
        raise MalformedKeyError("a name of more than three component groups")
    if len(groups) == 1:
        demand = _name_group(groups[0])
        return Named(anywhere=demand) if demand else None
    demands = [_name_group(group) for group in groups] + [None, None]
    return Named(groups=(demands[0], demands[1], demands[2])) if any(demands) else None


def _name_group(group: str) -> Equal | Pattern | None:
    form = folded(group)
    variants = tuple(_without_optional_components(_STARS.sub("*", form)))
    return None if not form or "*" in variants else _literal_or_pattern(variants)


def _without_optional_components(form: str) -> Iterator[str]:
    """`doe^*` also means `doe`: components at the end may be left out (PS3.5 6.2.1)."""
    yield form
    while form.endswith("^*"):
        form = form[:-2].rstrip("^")
        if form:
            yield form


_READERS: Final[dict[Kind, Callable[[Sequence[str]], Match | None]]] = {
    Kind.TEXT: _texts,
    Kind.NAME: _names,
    Kind.UID: _uids,
    Kind.DATE: _dates,
    Kind.TIME: _times,
    Kind.NUMBER: _numbers,
}
