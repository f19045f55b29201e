"""What studies are found by is written when their instances are filed: in normal form, whole, and only once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from sqlalchemy import Table, select
from support.filed import encoded, file, header, new_index

from appliance.hub.index.attribute_tables import (
    instance_content,
    patient,
    series_key,
    series_request,
    study_content,
    study_key,
)
from appliance.hub.index.attributes import content_of
from appliance.hub.index.database import Index
from appliance.hub.index.tables import study_site
from appliance.model.identity import InstanceIdentity


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    opened = new_index(tmp_path / "hub")
    yield opened
    opened.close()


def rows(index: Index, table: Table) -> list[dict[str, Any]]:
    with index.read() as connection:
        return [dict(row._mapping) for row in connection.execute(select(table))]


def test_a_study_has_its_keys_in_normal_form_and_its_content_as_it_was(index: Index):
    file(
        index,
        "a",
        header(
            PatientName="Müller^Jörg=山田^太郎",
            PatientID="P 1",
            IssuerOfPatientID="H",
            PatientBirthDate="19700102",
            StudyDate="20260131",
            StudyTime="1030",
            AccessionNumber="A7",
            StudyID="S1",
            StudyDescription="Chest",
            ReferringPhysicianName="Ødegård^O",
            BodyPartExamined="CHEST",
        ),
    )

    (key,) = rows(index, study_key)
    assert (key["name_alphabetic"], key["name_ideographic"], key["name_phonetic"]) == ("muller^jorg", "山田^太郎", "")
    assert (key["study_date"], key["study_time"], key["birth_date"]) == ("20260131", "103000000000", "19700102")
    assert (key["patient_id"], key["issuer_of_patient_id"], key["accession_number"]) == ("P 1", "H", "A7")
    assert (key["study_identifier"], key["description"], key["referring_alphabetic"]) == ("S1", "Chest", "odegard^o")
    assert (key["modalities"], key["body_parts"]) == ("\\CT\\", "\\CHEST\\")
    (content,) = rows(index, study_content)
    stated = json.loads(content["content"])
    assert stated["00100010"]["Value"] == [{"Alphabetic": "Müller^Jörg", "Ideographic": "山田^太郎"}]
    assert stated["00080030"]["Value"] == ["1030"]


def test_series_and_instances_have_theirs(index: Index):
    step = Dataset()
    step.ScheduledProcedureStepID, step.RequestedProcedureID = "S1", "R1"
    first = header(SeriesDescription="Axial", RequestAttributesSequence=Sequence([step]), Rows=512, StationName="CT1")
    file(index, "a", first, header(number=2, SeriesDescription="other", RequestAttributesSequence=Sequence([step])))

    (series,) = rows(index, series_key)
    assert (series["modality"], series["number"], series["description"], series["station"]) == ("CT", 1, "Axial", "CT1")
    (request,) = rows(index, series_request)
    assert (request["scheduled_step"], request["requested_procedure"]) == ("S1", "R1")
    first_row, second_row = rows(index, instance_content)
    assert (first_row["number"], second_row["number"]) == (1, 2)
    assert json.loads(first_row["content"])["00280010"]["Value"] == [512]


def test_later_instances_fill_what_is_empty_and_change_nothing(index: Index):
    file(index, "a", header(PatientID="P", StudyDescription="", Modality="SR", series=2))
    file(index, "a", header(PatientID="P", StudyDescription="Head", PatientBirthDate="19700102"), now=10_000)
    file(index, "a", header(PatientID="P", StudyDescription="Other", number=2), now=11_000)

    (key,) = rows(index, study_key)
    assert (key["description"], key["birth_date"], key["modalities"]) == ("Head", "19700102", "\\CT\\SR\\")
    assert [row["birth_date"] for row in rows(index, patient)] == ["19700102"]


def test_an_instance_of_another_patient_fills_nothing_of_the_patient(index: Index):
    file(index, "a", header(PatientID="P", PatientName="A"))
    file(index, "a", header(PatientID="Q", PatientName="B", PatientBirthDate="19700102", number=2), now=10_000)

    (key,) = rows(index, study_key)
    assert (key["patient_id"], key["birth_date"]) == ("P", "")


def test_the_same_identifier_is_one_patient_only_within_its_domain(index: Index):
    file(index, "a", header(study=1, PatientID="7"), header(study=2, PatientID="7"))
    file(index, "b", header(study=3, PatientID="7"))
    file(index, "b", header(study=4, PatientID="7", IssuerOfPatientID="NHS"))
    file(index, "a", header(study=5, PatientID="7", IssuerOfPatientID="NHS"), header(study=6), header(study=7))

    whose = [key["patient_row"] for key in rows(index, study_key)]
    assert whose[0] == whose[1]
    assert whose[3] == whose[4]
    assert len(set(whose)) == 5
    assert {row["domain"] for row in rows(index, patient)} == {"site:a", "site:b", "issuer:NHS", "study:6", "study:7"}


def test_the_site_that_sent_a_study_first_sees_it_and_a_later_one_does_not(index: Index):
    file(index, "a", header())
    file(index, "b", header(number=2))
    file(index, "a", header(number=3))

    assert {row["site_id"]: row["sees"] for row in rows(index, study_site)} == {"a": True, "b": False}


def test_a_content_is_never_larger_than_its_bound_and_keeps_what_is_small(index: Index):
    large = header(Rows=512)
    names = []
    for number in range(60):
        item = Dataset()
        item.CodeValue, item.CodeMeaning = str(number), "y" * 60
        names.append(item)
    large.ConceptNameCodeSequence = Sequence(names)
    file(index, "a", large)

    (row,) = rows(index, instance_content)
    assert len(row["content"].encode()) <= 4 << 10
    content = json.loads(row["content"])
    assert content["00280010"]["Value"] == [512]
    assert "0040A043" not in content


def test_text_that_does_not_decode_is_filed(index: Index):
    data = encoded(header(PatientID="P", PatientName="zz"))
    broken = data.replace(b"zz", b"\xff\xfe").replace(b"ISO_IR 192", b"ISO_IR 777")
    file(index, "a", broken)

    (key,) = rows(index, study_key)
    assert key["name_alphabetic"] == "yþ".replace("þ", "th")  # ÿþ read as ISO 8859-1, folded


def test_what_the_header_lacks_is_taken_from_the_identity_and_its_uids_always_are():
    identity = InstanceIdentity(
        study_instance_uid="1.2",
        series_instance_uid="1.3",
        sop_class_uid="1.4",
        sop_instance_uid="1.5",
        patient_name="A^B=C",
        series_number="7",
    )
    header_ = {"0020000D": {"vr": "UI", "Value": ["9.9"]}, "00080050": {"vr": "SH", "Value": ["A1"]}}

    content = content_of(identity, header_)

    assert content["0020000D"]["Value"] == ["1.2"]
    assert content["00080050"]["Value"] == ["A1"]
    assert content["00100010"]["Value"] == [{"Alphabetic": "A^B", "Ideographic": "C"}]
    assert content["00200011"]["Value"] == [7]
