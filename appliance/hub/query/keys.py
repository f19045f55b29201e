"""What can be asked for, and at which level (PS3.4 C.6.1.1, C.6.2.1; PS3.18 10.6.1.2). Pure.

A key names columns of the index's keys: of `patient` or `study_key`, of `series_key`, of an instance.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from pydicom.datadict import dictionary_VR, tag_for_keyword

from appliance.hub.index import kept
from appliance.hub.query.matching import Kind


class Level(IntEnum):
    """Query/Retrieve Level (0008,0052)."""

    PATIENT = 0
    STUDY = 1
    SERIES = 2
    INSTANCE = 3


@dataclass(frozen=True, slots=True)
class Key:
    """`column`: in the table of its level; the first part of three for a name."""

    tag: int
    level: Level
    kind: Kind
    column: str


def tag_of(keyword: str) -> int:
    """The tag of a keyword of PS3.6."""
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise KeyError(keyword)
    return tag


_P, _S, _R, _I = Level
_LIST: Final = (
    ("PatientName", _P, Kind.NAME, "name"),
    ("PatientID", _P, Kind.TEXT, "patient_id"),
    ("IssuerOfPatientID", _P, Kind.TEXT, "issuer_of_patient_id"),
    ("PatientBirthDate", _P, Kind.DATE, "birth_date"),
    ("PatientSex", _P, Kind.TEXT, "sex"),
    ("StudyInstanceUID", _S, Kind.UID, "study_instance_uid"),
    ("StudyDate", _S, Kind.DATE, "study_date"),
    ("StudyTime", _S, Kind.TIME, "study_time"),
    ("AccessionNumber", _S, Kind.TEXT, "accession_number"),
    ("StudyID", _S, Kind.TEXT, "study_identifier"),
    ("StudyDescription", _S, Kind.TEXT, "description"),
    ("ReferringPhysicianName", _S, Kind.NAME, "referring"),
    ("ModalitiesInStudy", _S, Kind.TEXT, "modalities"),
    ("SOPClassesInStudy", _S, Kind.UID, "sop_classes"),
    ("SeriesInstanceUID", _R, Kind.UID, "series_instance_uid"),
    ("Modality", _R, Kind.TEXT, "modality"),
    ("SeriesNumber", _R, Kind.NUMBER, "number"),
    ("BodyPartExamined", _R, Kind.TEXT, "body_part"),
    ("SeriesDescription", _R, Kind.TEXT, "description"),
    ("SeriesDate", _R, Kind.DATE, "series_date"),
    ("SeriesTime", _R, Kind.TIME, "series_time"),
    ("PerformedProcedureStepStartDate", _R, Kind.DATE, "step_date"),
    ("PerformedProcedureStepStartTime", _R, Kind.TIME, "step_time"),
    ("ProtocolName", _R, Kind.TEXT, "protocol"),
    ("StationName", _R, Kind.TEXT, "station"),
    ("InstitutionName", _R, Kind.TEXT, "institution"),
    ("RequestAttributesSequence", _R, Kind.ITEMS, ""),
    ("SOPInstanceUID", _I, Kind.UID, "sop_instance_uid"),
    ("SOPClassUID", _I, Kind.UID, "sop_class_uid"),
    ("InstanceNumber", _I, Kind.NUMBER, "number"),
)
KEYS: Final = {tag_of(keyword): Key(tag_of(keyword), *rest) for keyword, *rest in _LIST}  # type: ignore[arg-type]
REQUEST_KEYS: Final = {
    tag_of("ScheduledProcedureStepID"): "scheduled_step",
    tag_of("RequestedProcedureID"): "requested_procedure",
    tag_of("AccessionNumber"): "accession_number",
}
UNIQUE: Final = {
    _P: tag_of("PatientID"),
    _S: tag_of("StudyInstanceUID"),
    _R: tag_of("SeriesInstanceUID"),
    _I: tag_of("SOPInstanceUID"),
}
LISTS: Final = frozenset({"modalities", "sop_classes"})  # columns that hold several values of a study

MODALITIES: Final = tag_of("ModalitiesInStudy")
SOP_CLASSES: Final = tag_of("SOPClassesInStudy")
AVAILABILITY: Final = tag_of("InstanceAvailability")
STUDY_SERIES: Final = tag_of("NumberOfStudyRelatedSeries")
STUDY_INSTANCES: Final = tag_of("NumberOfStudyRelatedInstances")
SERIES_INSTANCES: Final = tag_of("NumberOfSeriesRelatedInstances")
PATIENT_STUDIES: Final = tag_of("NumberOfPatientRelatedStudies")
PATIENT_SERIES: Final = tag_of("NumberOfPatientRelatedSeries")
PATIENT_INSTANCES: Final = tag_of("NumberOfPatientRelatedInstances")
OF_PATIENT: Final = frozenset({PATIENT_STUDIES, PATIENT_SERIES, PATIENT_INSTANCES})

ANSWERED: Final = {
    _P: kept.PATIENT | OF_PATIENT,
    _S: kept.STUDY | {MODALITIES, SOP_CLASSES, STUDY_SERIES, STUDY_INSTANCES},
    _R: kept.SERIES | {SERIES_INSTANCES},
    _I: kept.INSTANCE,
}


def answered(level: Level) -> frozenset[int]:
    """What can be answered at this level: its own attributes, and those of the levels above."""
    return frozenset({AVAILABILITY}).union(*(ANSWERED[each] for each in Level if each <= level))


def vr_of(tag: int) -> str:
    """The VR of a tag that can be answered."""
    return str(dictionary_VR(tag))[:2]
