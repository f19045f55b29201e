"""What is read from a data set to file it: identifiers, and the few attributes the page and the hub board show."""

from __future__ import annotations

import msgspec


class InstanceIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """Text attributes are decoded, trimmed and at most 256 characters; absent ones are empty. UIDs are checked."""

    study_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    patient_name: str = ""
    patient_id: str = ""
    issuer_of_patient_id: str = ""
    patient_birth_date: str = ""
    patient_sex: str = ""
    accession_number: str = ""
    study_description: str = ""
    study_date: str = ""
    study_time: str = ""
    referring_physician: str = ""
    modality: str = ""
    body_part: str = ""
    series_description: str = ""
    series_number: str = ""
    instance_number: str = ""
    number_of_frames: int = 1
