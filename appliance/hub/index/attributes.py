"""Writes what studies are found by: keys in normal form, and contents for answers. Call it where an instance is filed.

The first instance says what its patient, study and series are; later ones fill what is empty. `Content` is DICOM JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from pydicom.datadict import dictionary_VR, tag_for_keyword
from sqlalchemy import Connection, Table, func, insert, select, update

from appliance.hub.index import kept
from appliance.hub.index.attribute_tables import (
    LIST_LENGTH,
    instance_content,
    patient,
    series_key,
    series_request,
    study_content,
    study_key,
)
from appliance.hub.index.forms import date_form, list_form, list_of, name_forms, number_form, text_form, time_form
from appliance.hub.index.tables import study_site
from appliance.model.identity import InstanceIdentity
from appliance.part10.attributes import Content, first_text, items_of

_STUDY_MAX: Final = 16 << 10  # bytes of a content
_INSTANCE_MAX: Final = 4 << 10
_REQUESTS_MAX: Final = 16
_LISTS: Final = {"modalities": "Modality", "sop_classes": "SOPClassUID", "body_parts": "BodyPartExamined"}

_KEYWORDS: Final = {
    "study_instance_uid": "StudyInstanceUID",
    "series_instance_uid": "SeriesInstanceUID",
    "sop_class_uid": "SOPClassUID",
    "sop_instance_uid": "SOPInstanceUID",
    "patient_name": "PatientName",
    "patient_id": "PatientID",
    "issuer_of_patient_id": "IssuerOfPatientID",
    "patient_birth_date": "PatientBirthDate",
    "patient_sex": "PatientSex",
    "accession_number": "AccessionNumber",
    "study_description": "StudyDescription",
    "study_date": "StudyDate",
    "study_time": "StudyTime",
    "referring_physician": "ReferringPhysicianName",
    "modality": "Modality",
    "body_part": "BodyPartExamined",
    "series_description": "SeriesDescription",
    "series_number": "SeriesNumber",
    "instance_number": "InstanceNumber",
}


def _tag(keyword: str) -> int:
    return tag_for_keyword(keyword) or 0


_TAGS: Final = {field: _tag(keyword) for field, keyword in _KEYWORDS.items()}
_UIDS: Final = ("study_instance_uid", "series_instance_uid", "sop_class_uid", "sop_instance_uid")


def content_of(identity: InstanceIdentity, header: Content) -> dict[str, Mapping[str, Any]]:
    """What is kept of an instance: of its header, and of its identity what the header did not give.

    The UIDs are those of the identity, which were checked.
    """
    known = {f"{tag:08X}": _attribute(tag, getattr(identity, field)) for field, tag in _TAGS.items()}
    sure = {f"{_TAGS[field]:08X}" for field in _UIDS}
    stated = {tag: value for tag, value in header.items() if tag not in sure and ("Value" in value or tag not in known)}
    return {**known, **stated}


def _attribute(tag: int, text: str) -> dict[str, Any]:
    vr = str(dictionary_VR(tag))
    if not text:
        return {"vr": vr}
    if vr == "PN":
        groups = zip(("Alphabetic", "Ideographic", "Phonetic"), text.split("="), strict=False)
        return {"vr": vr, "Value": [{name: group for name, group in groups if group}]}
    return {"vr": vr, "Value": [number_form(text) if vr == "IS" and text.isdigit() and len(text) < 12 else text]}


class Attributes:
    """Files attributes inside one transaction; the same connection, many instances."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._contents: dict[tuple[str, int], dict[str, Any]] = {}  # of the studies and series in hand
        self._lists: dict[int, dict[str, str]] = {}  # of the studies in hand

    def file(
        self, study_id: int, series_id: int, instance_id: int, content: Content, *, same_patient: bool = True
    ) -> None:
        """Files the content of an instance whose rows are there. One that names another patient than its study does
        fills nothing of the patient.
        """
        self._file_study(study_id, _part(content, kept.PATIENT | kept.STUDY), same_patient=same_patient)
        self._file_series(study_id, series_id, _part(content, kept.SERIES))
        self._note_lists(study_id, content)
        own = _part(content, kept.INSTANCE)
        number = number_form(_text(own, "InstanceNumber"))
        self._insert(instance_content, instance_id=instance_id, number=number, content=_encoded(own, _INSTANCE_MAX))

    def _file_study(self, study_id: int, content: dict[str, Any], *, same_patient: bool) -> None:
        known = self._known("study", study_id, study_content)
        if known is not None and not same_patient:
            content = _part(content, kept.STUDY)
        merged = _filled(known, content)
        if merged is None:
            return
        self._contents["study", study_id] = merged
        keys, text = _study_keys(merged), _encoded(merged, _STUDY_MAX)
        if known is None:
            row = self._patient(study_id, merged)
            lists = {"modalities": "", "sop_classes": "", "body_parts": ""}
            self._insert(study_key, study_id=study_id, patient_row=row, **keys, **lists)
            self._insert(study_content, study_id=study_id, content=text)
        else:
            self._update(study_key, study_id, **keys)
            self._update(study_content, study_id, content=text)
            self._fill_patient(study_id, merged)

    def _file_series(self, study_id: int, series_id: int, content: dict[str, Any]) -> None:
        known = self._known("series", series_id, series_key)
        merged = _filled(known, content)
        if merged is None:
            return
        self._contents["series", series_id] = merged
        keys, text = _series_keys(merged), _encoded(merged, _STUDY_MAX)
        if known is None:
            self._insert(series_key, series_id=series_id, study_id=study_id, content=text, **keys)
        else:
            self._update(series_key, series_id, content=text, **keys)
        if not _has_requests(known):
            for position, item in enumerate(items_of(merged, _tag("RequestAttributesSequence"))[:_REQUESTS_MAX]):
                self._insert(series_request, series_id=series_id, position=position, **_request_keys(item))

    def _known(self, level: str, row_id: int, table: Table) -> dict[str, Any] | None:
        if (level, row_id) not in self._contents:
            owner = next(iter(table.primary_key))
            text = self._connection.execute(select(table.c.content).where(owner == row_id)).scalar()
            if text is None:
                return None
            self._contents[level, row_id] = msgspec.json.decode(text)
        return self._contents[level, row_id]

    def _note_lists(self, study_id: int, content: Content) -> None:
        """Adds this instance to the lists of its study."""
        before = self._lists.get(study_id) or self._lists_of(study_id)
        after = {
            name: list_form({*list_of(before[name]), text_form(_text(content, keyword))}, LIST_LENGTH)
            for name, keyword in _LISTS.items()
        }
        if after != before:
            self._update(study_key, study_id, **after)
        self._lists[study_id] = after

    def _lists_of(self, study_id: int) -> dict[str, str]:
        query = select(*(study_key.c[name] for name in _LISTS)).where(study_key.c.study_id == study_id)
        return dict(self._connection.execute(query).one()._mapping)

    def _patient(self, study_id: int, content: Content) -> int:
        """The row of the study's patient, a new one when there is none."""
        identifier, issuer = text_form(_text(content, "PatientID")), text_form(_text(content, "IssuerOfPatientID"))
        domain = self._domain(study_id, identifier, issuer)
        this = (patient.c.domain == domain) & (patient.c.patient_id == identifier)
        row = self._connection.execute(select(patient.c.id, patient.c.content).where(this)).one_or_none()
        if row:
            self._fill(row.id, msgspec.json.decode(row.content), content)
            return int(row.id)
        own = _part(content, kept.PATIENT)
        values = {**_patient_keys(own), "domain": domain, "content": _encoded(own, _STUDY_MAX)}
        key = self._connection.execute(insert(patient).values(**values)).inserted_primary_key
        return int(key[0])  # type: ignore[index]

    def _domain(self, study_id: int, identifier: str, issuer: str) -> str:
        """Who gave the identifier: without one the study stands for itself."""
        if not identifier:
            return f"study:{study_id}"
        if issuer:
            return f"issuer:{issuer}"
        first = select(study_site.c.site_id).where(study_site.c.study_id == study_id)
        site = self._connection.execute(first.order_by(study_site.c.first_at, study_site.c.site_id).limit(1)).scalar()
        return f"site:{site or ''}"

    def _fill_patient(self, study_id: int, content: Content) -> None:
        this = (
            select(patient.c.id, patient.c.content)
            .join(study_key, study_key.c.patient_row == patient.c.id)
            .where(study_key.c.study_id == study_id)
        )
        row = self._connection.execute(this).one()
        self._fill(row.id, msgspec.json.decode(row.content), content)

    def _fill(self, row_id: int, known: dict[str, Any], content: Content) -> None:
        """Fills what is empty, but for the identifier: that is who the patient is."""
        who = {_tag("PatientID"), _tag("IssuerOfPatientID")}
        merged = _filled(known, _part(content, kept.PATIENT - who))
        if merged is not None:
            self._update(patient, row_id, **_patient_keys(merged), content=_encoded(merged, _STUDY_MAX))

    def _insert(self, table: Table, **values: object) -> None:
        self._connection.execute(insert(table).values(**values))

    def _update(self, table: Table, row_id: int, **values: object) -> None:
        owner = next(iter(table.primary_key))
        self._connection.execute(update(table).where(owner == row_id).values(**values))


def is_filed(connection: Connection, instance_id: int) -> bool:
    """Whether the attributes of this instance are here."""
    this = select(func.count()).where(instance_content.c.instance_id == instance_id)
    return connection.execute(this).scalar_one() > 0


def _part(content: Content, tags: frozenset[int]) -> dict[str, Any]:
    return {tag: value for tag, value in content.items() if int(tag, 16) in tags}


def _filled(known: Mapping[str, Any] | None, content: Mapping[str, Any]) -> dict[str, Any] | None:
    """What is known, and of `content` what that lacks; None when it lacks nothing."""
    if known is None:
        return dict(content)
    new = {
        tag: value
        for tag, value in content.items()
        if tag not in known or ("Value" in value and "Value" not in known[tag])
    }
    return {**known, **new} if new else None


def _encoded(content: Mapping[str, Any], longest: int) -> str:
    """JSON of at most `longest` bytes: what takes most goes first, and no part of a value is ever cut."""
    parts = {tag: msgspec.json.encode(value) for tag, value in sorted(content.items())}
    size = sum(len(part) + 12 for part in parts.values()) + 2
    for tag in sorted(parts, key=lambda tag: (-len(parts[tag]), tag)):
        if size <= longest:
            break
        size -= len(parts.pop(tag)) + 12
    return "{" + ",".join(f'"{tag}":{part.decode()}' for tag, part in parts.items()) + "}"


def _text(content: Content, keyword: str) -> str:
    return first_text(content, _tag(keyword))


def _has_requests(content: Content | None) -> bool:
    return content is not None and bool(items_of(content, _tag("RequestAttributesSequence")))


def _names(column: str, text: str) -> dict[str, str]:
    groups = ("alphabetic", "ideographic", "phonetic")
    return {f"{column}_{group}": form for group, form in zip(groups, name_forms(text), strict=True)}


def _patient_keys(content: Content) -> dict[str, Any]:
    return {
        "patient_id": text_form(_text(content, "PatientID")),
        "issuer_of_patient_id": text_form(_text(content, "IssuerOfPatientID")),
        "birth_date": date_form(_text(content, "PatientBirthDate")),
        "sex": text_form(_text(content, "PatientSex")),
        **_names("name", _text(content, "PatientName")),
    }


def _study_keys(content: Content) -> dict[str, Any]:
    return {
        **_patient_keys(content),
        "study_instance_uid": _text(content, "StudyInstanceUID"),
        "study_date": date_form(_text(content, "StudyDate")),
        "study_time": time_form(_text(content, "StudyTime")),
        "accession_number": text_form(_text(content, "AccessionNumber")),
        "study_identifier": text_form(_text(content, "StudyID")),
        "description": text_form(_text(content, "StudyDescription")),
        **_names("referring", _text(content, "ReferringPhysicianName")),
    }


def _series_keys(content: Content) -> dict[str, Any]:
    return {
        "series_instance_uid": _text(content, "SeriesInstanceUID"),
        "modality": text_form(_text(content, "Modality")),
        "number": number_form(_text(content, "SeriesNumber")),
        "body_part": text_form(_text(content, "BodyPartExamined")),
        "description": text_form(_text(content, "SeriesDescription")),
        "series_date": date_form(_text(content, "SeriesDate")),
        "series_time": time_form(_text(content, "SeriesTime")),
        "step_date": date_form(_text(content, "PerformedProcedureStepStartDate")),
        "step_time": time_form(_text(content, "PerformedProcedureStepStartTime")),
        "protocol": text_form(_text(content, "ProtocolName")),
        "station": text_form(_text(content, "StationName")),
        "institution": text_form(_text(content, "InstitutionName")),
    }


def _request_keys(item: Content) -> dict[str, Any]:
    return {
        "scheduled_step": text_form(_text(item, "ScheduledProcedureStepID")),
        "requested_procedure": text_form(_text(item, "RequestedProcedureID")),
        "accession_number": text_form(_text(item, "AccessionNumber")),
    }
