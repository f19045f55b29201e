"""From an identifier to a `Query`, and what of it can't be answered. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from appliance.hub.query.keys import KEYS, REQUEST_KEYS, UNIQUE, Key, Level, answered, tag_of
from appliance.hub.query.matching import Equal, Items, Kind, MalformedKeyError, Match, Pattern, match_of
from appliance.part10.attributes import Content, items_of, texts_of

# Part of every question, and no key (PS3.4 C.4.1.1.3.1).
_NO_KEYS: Final = frozenset(
    map(tag_of, ("SpecificCharacterSet", "QueryRetrieveLevel", "RetrieveAETitle", "RetrieveURL"))
)


@dataclass(frozen=True)
class Query:
    """`matches`: of this level and those above. `wanted`: the tags to answer with; None: all that there are."""

    level: Level
    matches: tuple[tuple[Key, Match], ...] = ()
    wanted: frozenset[int] | None = None


@dataclass(frozen=True)
class Asked:
    """`unsupported`: tags that can't be matched or answered here, so that the answer says so (PS3.4 C.4.1.1.4)."""

    query: Query
    unsupported: frozenset[int]


def asked(level: Level, identifier: Content) -> Asked:
    """The question in an identifier; every attribute in it is wanted back. Raises MalformedKeyError with its tag."""
    matches, unsupported = [], set()
    tags = {int(tag, 16) for tag in identifier} - _NO_KEYS
    tags = {tag for tag in tags if tag & 0xFFFF}  # group lengths are retired, and sent by some
    for tag in sorted(tags):
        key = KEYS.get(tag)
        if key is None or key.level > level:
            if tag not in answered(level) or _has_value(identifier, tag):
                unsupported.add(tag)
            continue
        match = _match(key, identifier, unsupported)
        if match:
            matches.append((key, match))
    return Asked(Query(level, tuple(matches), frozenset(tags) & answered(level)), frozenset(unsupported))


def _has_value(identifier: Content, tag: int) -> bool:
    return any(texts_of(identifier, tag)) or any(items_of(identifier, tag))


def _match(key: Key, identifier: Content, unsupported: set[int]) -> Match | None:
    try:
        if key.kind is Kind.ITEMS:
            return _items(items_of(identifier, key.tag), unsupported)
        return match_of(key.kind, texts_of(identifier, key.tag))
    except MalformedKeyError as error:
        raise MalformedKeyError(error.reason, key.tag) from error


def _items(items: list[Content], unsupported: set[int]) -> Items | None:
    """Sequence matching (PS3.4 C.2.2.2.6): one item, all keys of it in the same item."""
    if len(items) > 1:
        raise MalformedKeyError("more than one item")
    demands: dict[int, Equal | Pattern] = {}
    for item in items:
        for tag in (int(text, 16) for text in item):
            match = match_of(Kind.TEXT, texts_of(item, tag)) if tag in REQUEST_KEYS else None
            if isinstance(match, Equal | Pattern):
                demands[tag] = match
            elif tag not in REQUEST_KEYS and _has_value(item, tag):
                unsupported.add(tag)
    return Items(tuple(sorted(demands.items()))) if demands else None


def lacking(query: Query, top: Level) -> int | None:
    """The unique key of a level above that a hierarchical query must name with one value, and does not (PS3.4
    C.4.1.2.1); None when it names all. `top`: PATIENT or STUDY, the root of the information model.
    """
    named: Mapping[int, Match] = {key.tag: match for key, match in query.matches}
    for level in Level:
        if top <= level < query.level and not _is_one(named.get(UNIQUE[level])):
            return UNIQUE[level]
    return None


def _is_one(match: Match | None) -> bool:
    return isinstance(match, Equal) and len(match.values) == 1
