"""Studies as people look at them: newest first, or one with all that is in it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, func, select

from appliance.errors import NotFoundError
from appliance.hub.index.tables import instance, series, study, study_site
from appliance.model.priority import Priority


class StudyFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A study as `appliance hub list --json` prints it. Times in Unix ms; `bytes` of the data sets as received.

    `instances`, `bytes` and the times count what is here; `announced` is what the sites said they have, None when they
    did not say. Of a study of which nothing is here yet, `first_held_at` and `last_held_at` are 0.
    """

    study_instance_uid: str
    patient_name: str
    patient_id: str
    issuer_of_patient_id: str
    patient_birth_date: str
    patient_sex: str
    accession_number: str
    study_description: str
    study_date: str
    study_time: str
    referring_physician: str
    priority: str
    sites: tuple[str, ...]
    modalities: tuple[str, ...]
    series: int
    instances: int
    bytes: int
    conflicts: int
    identity_conflict: bool
    first_held_at: int
    last_held_at: int
    announced: int | None = None  # instances at the sites, also those that are here by now
    announced_at: int | None = None  # when a site last said so
    expected: tuple[int, int] | None = None  # all of it is likely to be here not before, and before
    previews: int = 0  # frames of which there is a small image, not for diagnosis
    question: str = ""  # the clinical question, when the site knows it


class InstanceFacts(msgspec.Struct, frozen=True, kw_only=True):
    """An instance as `appliance hub show --json` prints it."""

    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    instance_number: str
    frames: int
    digest: str
    bytes: int
    archived_as: str
    archived_bytes: int
    conflict: bool
    calling_ae: str
    received_at: int
    held_at: int


class SeriesFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A series with its instances, by instance number."""

    series_instance_uid: str
    modality: str
    body_part: str
    series_description: str
    series_number: str
    instances: tuple[InstanceFacts, ...]
    announced: int | None = None  # instances of it at the site; None when it did not say


class StoredInstance(msgspec.Struct, frozen=True, kw_only=True):
    """What it takes to hand an instance out, or to prove it. `series_id` groups; the order is that of the study."""

    id: int
    series_id: int
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    digest: bytes
    form: str
    stored_key: str
    stored_digest: bytes
    stored_bytes: int
    recipe_key: str | None
    conflict: bool


def newest(connection: Connection, site: str | None, limit: int) -> list[StudyFacts]:
    """The studies that last got something, newest first; of one site when it is named."""
    query = select(study).order_by(study.c.last_held_at.desc(), study.c.id.desc()).limit(limit)
    if site is not None:
        of_site = select(study_site.c.study_id).where(study_site.c.site_id == site)
        query = query.where(study.c.id.in_(of_site))
    return _facts(connection, connection.execute(query).all())


def find(connection: Connection, study_instance_uid: str) -> tuple[int, StudyFacts]:
    """Row id and facts of one study. Raises NotFoundError; the message does not repeat the UID, which may be long."""
    row = connection.execute(select(study).where(study.c.study_instance_uid == study_instance_uid)).one_or_none()
    if row is None:
        raise NotFoundError("The hub has no study of this UID", hint="`appliance hub list` shows what is here.")
    return row.id, _facts(connection, [row])[0]


def series_of(connection: Connection, study_id: int) -> list[SeriesFacts]:
    """All series of a study, by series number, with their instances."""
    inside: dict[int, list[InstanceFacts]] = defaultdict(list)
    for row in connection.execute(select(instance).where(instance.c.study_id == study_id)):
        inside[row.series_id].append(_instance(row))
    found = connection.execute(select(series).where(series.c.study_id == study_id)).all()
    ordered = sorted(found, key=lambda row: (number(row.series_number), row.id))
    return [
        SeriesFacts(
            series_instance_uid=row.series_instance_uid,
            modality=row.modality,
            body_part=row.body_part,
            series_description=row.series_description,
            series_number=row.series_number,
            instances=tuple(sorted(inside[row.id], key=lambda one: (number(one.instance_number), one.held_at))),
        )
        for row in ordered
    ]


def stored_of(connection: Connection, study_id: int) -> list[list[StoredInstance]]:
    """The instances of a study to hand out: one list a series, by series number, each by instance number."""
    columns = [instance.c[name] for name in StoredInstance.__struct_fields__]
    numbers = (instance.c.instance_number, series.c.series_number)
    query = select(*columns, *numbers).join(series, series.c.id == instance.c.series_id)
    rows: list[Row[Any]] = list(connection.execute(query.where(instance.c.study_id == study_id)))
    rows.sort(key=lambda row: (number(row.series_number), row.series_id, number(row.instance_number), row.id))
    grouped: dict[int, list[StoredInstance]] = defaultdict(list)
    for row in rows:
        grouped[row.series_id].append(_stored(row))
    return list(grouped.values())


def count_stored(connection: Connection) -> int:
    """How many instances the archive has."""
    return int(connection.execute(select(func.count()).select_from(instance)).scalar_one())


def stored_after(connection: Connection, after_id: int, limit: int) -> list[StoredInstance]:
    """The next `limit` instances of the whole archive, by row id."""
    columns = [instance.c[name] for name in StoredInstance.__struct_fields__]
    query = select(*columns).where(instance.c.id > after_id).order_by(instance.c.id).limit(limit)
    return [_stored(row) for row in connection.execute(query)]


def _stored(row: Row[Any]) -> StoredInstance:
    return StoredInstance(**{name: row._mapping[name] for name in StoredInstance.__struct_fields__})


def _instance(row: Row[Any]) -> InstanceFacts:
    return InstanceFacts(
        sop_instance_uid=row.sop_instance_uid,
        sop_class_uid=row.sop_class_uid,
        transfer_syntax_uid=row.transfer_syntax_uid,
        instance_number=row.instance_number,
        frames=row.frames,
        digest=row.digest.hex(),
        bytes=row.bytes,
        archived_as=row.form,
        archived_bytes=row.stored_bytes,
        conflict=row.conflict,
        calling_ae=row.calling_ae,
        received_at=row.received_at,
        held_at=row.held_at,
    )


def _facts(connection: Connection, rows: Sequence[Row[Any]]) -> list[StudyFacts]:
    """Adds sites and modalities: two queries for the whole page."""
    ids = [row.id for row in rows]
    sites, modalities = defaultdict(set), defaultdict(set)
    links = select(study_site.c.study_id, study_site.c.site_id).where(study_site.c.study_id.in_(ids))
    for study_id, site in connection.execute(links):
        sites[study_id].add(site)
    kinds = select(series.c.study_id, series.c.modality).where(series.c.study_id.in_(ids)).distinct()
    for study_id, modality in connection.execute(kinds):
        modalities[study_id].add(modality)
    names = [name for name in StudyFacts.__struct_fields__ if name in study.c and name != "priority"]
    return [
        StudyFacts(
            priority=Priority(row.priority).word,
            sites=tuple(sorted(sites[row.id])),
            modalities=tuple(sorted(modalities[row.id])),
            **{name: row._mapping[name] for name in names},
        )
        for row in rows
    ]


def number(text: str) -> tuple[int, str]:
    """A key that sorts `10` after `9`, and what is no number at the end."""
    digits = text.lstrip("+")
    return (int(digits), "") if digits.isascii() and digits.isdigit() and len(digits) <= 12 else (1 << 62, text)
