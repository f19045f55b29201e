"""Pages of answers to a query, in DICOM JSON. Each page is one short look at the index: a slow client holds nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, func, select

from appliance.hub.index import kept
from appliance.hub.index.attribute_tables import instance_content, patient, series_key, study_content, study_key
from appliance.hub.index.database import Index
from appliance.hub.index.forms import list_of
from appliance.hub.index.scope import Scope, visible
from appliance.hub.index.tables import series, study
from appliance.hub.query import keys
from appliance.hub.query.asking import Query
from appliance.hub.query.keys import Level, answered, vr_of
from appliance.hub.query.statements import Cursor, count_of, rows_of

Answer = dict[str, Any]  # DICOM JSON of one patient, study, series or instance, by tag
PAGE_MAX: Final = 1000
OFFSET_MAX: Final = 10_000


@dataclass(frozen=True)
class Page:
    """`next`: the cursor of the page behind this one; None when this is the last."""

    answers: list[Answer]
    next: Cursor | None


def search(
    connection: Connection, scope: Scope, query: Query, limit: int, *, after: Cursor | None = None, offset: int = 0
) -> Page:
    """The first `limit` answers behind the cursor, of those that are in scope; studies are the newest first."""
    limit = min(limit, PAGE_MAX)
    statement = rows_of(scope, query, after).limit(limit + 1).offset(min(offset, OFFSET_MAX) or None)
    cursors: list[Cursor] = [tuple(row) for row in connection.execute(statement)]
    found = cursors[:limit]
    answers = _ANSWERS[query.level](connection, scope, query, found) if found else []
    return Page([_wanted(one, query) for one in answers], found[-1] if len(cursors) > limit else None)


def total(connection: Connection, scope: Scope, query: Query) -> int:
    """How many answers there are in scope."""
    return int(connection.execute(count_of(scope, query)).scalar_one())


def every(index: Index, scope: Scope, query: Query, page: int = 200) -> Iterator[Answer]:
    """All answers, page by page; between two pages nothing is held."""
    after: Cursor | None = None
    while True:
        with index.read() as connection:
            found = search(connection, scope, query, page, after=after)
        yield from found.answers
        if found.next is None:
            return
        after = found.next


def _wanted(answer: Answer, query: Query) -> Answer:
    """What was asked for; without a value, where there is none."""
    if query.wanted is None:
        return dict(sorted(answer.items()))
    names = {f"{tag:08X}": tag for tag in sorted(query.wanted & answered(query.level))}
    return {name: answer.get(name) or {"vr": vr_of(tag)} for name, tag in names.items()}


def _wants(query: Query, tags: frozenset[int]) -> bool:
    return query.wanted is None or bool(query.wanted & tags)


def _attribute(tag: int, *values: str | int) -> Answer:
    return {f"{tag:08X}": {"vr": vr_of(tag), "Value": list(values)} if values else {"vr": vr_of(tag)}}


_ONLINE: Final = _attribute(keys.AVAILABILITY, "ONLINE")


def _patients(connection: Connection, scope: Scope, query: Query, found: Sequence[Cursor]) -> list[Answer]:
    ids = [int(cursor[-1]) for cursor in found]
    rows = connection.execute(select(patient.c.id, patient.c.content).where(patient.c.id.in_(ids)))
    contents = {row.id: msgspec.json.decode(row.content) for row in rows}
    counts = _counts_of_patients(connection, scope, ids) if _wants(query, keys.OF_PATIENT) else {}
    return [{**contents[row], **counts.get(row, {}), **_ONLINE} for row in ids]


def _counts_of_patients(connection: Connection, scope: Scope, rows: Iterable[int]) -> dict[int, Answer]:
    """What is in scope of each patient."""
    row = study_key.c.patient_row
    query = (
        select(row, func.count(), func.sum(study.c.series), func.sum(study.c.instances))
        .join(study, study.c.id == study_key.c.study_id)
        .where(row.in_(set(rows)), visible(scope, study_key.c.study_id))
        .group_by(row)
    )
    tags = (keys.PATIENT_STUDIES, keys.PATIENT_SERIES, keys.PATIENT_INSTANCES)
    return {one[0]: _counts(dict(zip(tags, one[1:], strict=True))) for one in connection.execute(query)}


def _counts(counted: Mapping[int, int]) -> Answer:
    found: Answer = {}
    for tag, count in counted.items():
        found |= _attribute(tag, int(count))
    return found


def _studies(connection: Connection, scope: Scope, query: Query, found: Sequence[Cursor]) -> list[Answer]:
    ids = [int(cursor[-1]) for cursor in found]
    known = _studies_by_id(connection, scope, query, ids)
    return [known[row] for row in ids]


def _studies_by_id(connection: Connection, scope: Scope, query: Query, ids: Iterable[int]) -> dict[int, Answer]:
    columns = (study_key.c.study_id, study_key.c.patient_row, study_key.c.modalities, study_key.c.sop_classes)
    statement = (
        select(*columns, study.c.series, study.c.instances, study_content.c.content)
        .join(study, study.c.id == study_key.c.study_id)
        .join(study_content, study_content.c.study_id == study_key.c.study_id)
        .where(study_key.c.study_id.in_(set(ids)))
    )
    rows = connection.execute(statement).all()
    counts: dict[int, Answer] = {}
    if query.wanted is not None and _wants(query, keys.OF_PATIENT):
        counts = _counts_of_patients(connection, scope, [row.patient_row for row in rows])
    return {row.study_id: {**_study(row), **counts.get(row.patient_row, {})} for row in rows}


def _study(row: Any) -> Answer:
    return {
        **msgspec.json.decode(row.content),
        **_attribute(keys.MODALITIES, *list_of(row.modalities)),
        **_attribute(keys.SOP_CLASSES, *list_of(row.sop_classes)),
        **_counts({keys.STUDY_SERIES: row.series, keys.STUDY_INSTANCES: row.instances}),
        **_ONLINE,
    }


_STUDY_AT, _SERIES_AT = 2, 4  # where a cursor has the rows of what an answer is in


def _series(connection: Connection, scope: Scope, query: Query, found: Sequence[Cursor]) -> list[Answer]:
    studies = _above(connection, scope, query, found)
    series_ = _series_by_id(connection, [int(cursor[_SERIES_AT]) for cursor in found])
    return [{**studies[int(cursor[_STUDY_AT])], **series_[int(cursor[_SERIES_AT])]} for cursor in found]


def _above(connection: Connection, scope: Scope, query: Query, found: Sequence[Cursor]) -> dict[int, Answer]:
    """The studies that answers are in; only their UIDs, when nothing more of them is wanted."""
    ids = {int(cursor[_STUDY_AT]) for cursor in found}
    uid = keys.UNIQUE[Level.STUDY]
    if _wants(query, answered(Level.STUDY) - {uid, keys.AVAILABILITY, *kept.SERIES, *kept.INSTANCE}):
        return _studies_by_id(connection, scope, query, ids)
    columns = (study_key.c.study_id, study_key.c.study_instance_uid)
    rows = connection.execute(select(*columns).where(study_key.c.study_id.in_(ids)))
    return {row.study_id: {**_attribute(uid, row.study_instance_uid), **_ONLINE} for row in rows}


def _series_by_id(connection: Connection, ids: Iterable[int]) -> dict[int, Answer]:
    statement = (
        select(series_key.c.series_id, series_key.c.content, series.c.instances)
        .join(series, series.c.id == series_key.c.series_id)
        .where(series_key.c.series_id.in_(set(ids)))
    )
    return {
        row.series_id: {**msgspec.json.decode(row.content), **_counts({keys.SERIES_INSTANCES: row.instances})}
        for row in connection.execute(statement)
    }


def _instances(connection: Connection, scope: Scope, query: Query, found: Sequence[Cursor]) -> list[Answer]:
    series_ = _series(connection, scope, query, found)
    ids = [int(cursor[-1]) for cursor in found]
    statement = select(instance_content.c.instance_id, instance_content.c.content)
    rows = connection.execute(statement.where(instance_content.c.instance_id.in_(ids)))
    contents = {row.instance_id: msgspec.json.decode(row.content) for row in rows}
    return [{**one, **contents[int(cursor[-1])]} for one, cursor in zip(series_, found, strict=True)]


_Answers = Callable[[Connection, Scope, Query, Sequence[Cursor]], list[Answer]]
_ANSWERS: Final[dict[Level, _Answers]] = {
    Level.PATIENT: _patients,
    Level.STUDY: _studies,
    Level.SERIES: _series,
    Level.INSTANCE: _instances,
}
