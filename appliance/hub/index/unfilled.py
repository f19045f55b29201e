"""Instances from before there were attributes: which come next, and how far it is. Study by study, the newest first."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
from sqlalchemy import Connection, func, select, update

from appliance.hub.index.attribute_tables import attribute_backfill as table
from appliance.hub.index.attribute_tables import instance_content
from appliance.hub.index.instances import STUDY_FIELDS, is_other_patient
from appliance.hub.index.tables import instance, series, study
from appliance.model.identity import InstanceIdentity
from appliance.part10.attributes import Content, first_text

_SERIES = ("modality", "body_part", "series_description", "series_number")
_PATIENT_TAGS = {
    "patient_name": 0x00100010,
    "patient_id": 0x00100020,
    "issuer_of_patient_id": 0x00100021,
    "patient_birth_date": 0x00100030,
    "patient_sex": 0x00100040,
}


@dataclass(frozen=True)
class Unfilled:
    """An instance, where it is stored, and what the index knew of it."""

    id: int
    study_id: int
    series_id: int
    stored_key: str
    stored_bytes: int
    identity: InstanceIdentity

    def is_of_its_study(self, header: Content) -> bool:
        """Whether the patient in the header is the one of the study's row."""
        values = {field: first_text(header, tag) for field, tag in _PATIENT_TAGS.items()}
        known = {field: getattr(self.identity, field) for field in _PATIENT_TAGS}
        return not is_other_patient(known, msgspec.structs.replace(self.identity, **values))


def next_batch(connection: Connection, limit: int) -> list[Unfilled]:
    """The next instances, all of one study; none when all are filled."""
    study_id, after = connection.execute(select(table.c.study_id, table.c.instance_id)).one()
    while study_id:
        if found := _of_study(connection, study_id, after, limit):
            return found
        below = select(func.max(study.c.id)).where(study.c.id < study_id)
        study_id, after = connection.execute(below).scalar() or 0, 0
    return []


def _of_study(connection: Connection, study_id: int, after: int, limit: int) -> list[Unfilled]:
    columns = [
        *(study.c[name] for name in ("study_instance_uid", *STUDY_FIELDS)),
        *(series.c[name] for name in ("series_instance_uid", *_SERIES)),
        *(instance.c[name] for name in ("sop_class_uid", "sop_instance_uid", "instance_number")),
    ]
    own = [instance.c[name] for name in ("id", "study_id", "series_id", "stored_key", "stored_bytes")]
    query = (
        select(*own, *columns)
        .join(series, series.c.id == instance.c.series_id)
        .join(study, study.c.id == instance.c.study_id)
        .outerjoin(instance_content, instance_content.c.instance_id == instance.c.id)
        .where(instance.c.study_id == study_id, instance.c.id > after, instance_content.c.instance_id.is_(None))
        .order_by(instance.c.id)
        .limit(limit)
    )
    names = [column.name for column in columns]
    found = []
    for row in connection.execute(query).all():
        identity = InstanceIdentity(**dict(zip(names, row[len(own) :], strict=True)))
        found.append(Unfilled(row[0], row[1], row[2], row[3], row[4], identity))
    return found


def note(connection: Connection, last: Unfilled | None) -> None:
    """It is filled up to this one; None: all of it."""
    values = {"study_id": last.study_id, "instance_id": last.id} if last else {"study_id": 0, "instance_id": 0}
    connection.execute(update(table).values(**values))


def is_done(connection: Connection) -> bool:
    """Whether the attributes of every instance are here."""
    return int(connection.execute(select(table.c.study_id)).scalar_one()) == 0
