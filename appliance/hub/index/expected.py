"""Studies as people look at them: what is here, and what the sites said is on its way, in one list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from sqlalchemy import Connection

from appliance.errors import NotFoundError
from appliance.hub.index import notices, previews, studies
from appliance.hub.index.notices import Told
from appliance.hub.index.studies import SeriesFacts, StudyFacts
from appliance.model.notice import SeriesNotice


@dataclass(frozen=True)
class Seen:
    """One study. `study_id`: its row; None as long as no instance of it is here."""

    study_id: int | None
    facts: StudyFacts
    series: list[SeriesFacts]


def newest(connection: Connection, site: str | None, limit: int) -> list[StudyFacts]:
    """The studies that last got an instance, or were told of last, newest first; of one site when it is named."""
    filed = studies.newest(connection, site, limit)
    unfiled: dict[str, list[Told]] = {}
    for told in notices.newest_unfiled(connection, site, limit):
        unfiled.setdefault(told.notice.study_instance_uid, []).append(told)
    found = [*_announced(connection, filed), *(_expected(told) for told in unfiled.values())]
    found.sort(key=lambda one: -_last_news(one))
    drawn = previews.counts(connection, [one.study_instance_uid for one in found[:limit]])
    return [msgspec.structs.replace(one, previews=drawn.get(one.study_instance_uid, 0)) for one in found[:limit]]


def find(connection: Connection, study_instance_uid: str) -> Seen:
    """One study with its series. Raises NotFoundError."""
    told = notices.of_studies(connection, [study_instance_uid]).get(study_instance_uid, [])
    drawn = previews.counts(connection, [study_instance_uid]).get(study_instance_uid, 0)
    study_id, series = None, []
    try:
        study_id, facts = studies.find(connection, study_instance_uid)
    except NotFoundError:
        if not told:
            raise
        facts = _expected(told)
    else:
        (facts,) = _announced(connection, [facts])
        series = studies.series_of(connection, study_id)
    facts = msgspec.structs.replace(facts, previews=drawn)
    return Seen(study_id, facts, _with_announced(series, [each for one in told for each in one.notice.series]))


def _last_news(one: StudyFacts) -> int:
    return one.last_held_at or one.announced_at or 0


def _announced(connection: Connection, filed: Sequence[StudyFacts]) -> list[StudyFacts]:
    """With what the sites said is to come."""
    told = notices.of_studies(connection, [one.study_instance_uid for one in filed])
    return [_with_notices(one, told.get(one.study_instance_uid, [])) for one in filed]


def _with_notices(one: StudyFacts, told: Sequence[Told]) -> StudyFacts:
    if not told:
        return one
    notice = told[0].notice
    waited_for = notice.delivered < notice.instances
    return msgspec.structs.replace(
        one,
        announced=max(each.notice.instances for each in told),
        announced_at=told[0].told_at,
        expected=notice.eta if waited_for else None,
        question=notice.question,
    )


def _expected(told: Sequence[Told]) -> StudyFacts:
    """A study of which nothing is here yet."""
    notice = told[0].notice
    names = set(StudyFacts.__struct_fields__) & set(notice.__struct_fields__) - {"series", "instances"}
    return _with_notices(
        StudyFacts(
            sites=tuple(sorted({each.site_id for each in told})),
            modalities=tuple(sorted({each.modality for each in notice.series})),
            series=len(notice.series),
            instances=0,
            bytes=0,
            conflicts=0,
            identity_conflict=False,
            first_held_at=0,
            last_held_at=0,
            **{name: getattr(notice, name) for name in names},
        ),
        told,
    )


def _with_announced(held: Sequence[SeriesFacts], told: Sequence[SeriesNotice]) -> list[SeriesFacts]:
    """The series that are here and those that were told of, by series number."""
    announced = {each.series_instance_uid: each for each in reversed(told)}
    found = [
        msgspec.structs.replace(one, announced=announced.pop(one.series_instance_uid).instances)
        if one.series_instance_uid in announced
        else one
        for one in held
    ]
    found += [
        SeriesFacts(
            series_instance_uid=each.series_instance_uid,
            modality=each.modality,
            body_part=each.body_part,
            series_description=each.series_description,
            series_number=each.series_number,
            instances=(),
            announced=each.instances,
        )
        for each in announced.values()
    ]
    return sorted(found, key=lambda one: studies.number(one.series_number))
