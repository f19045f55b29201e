"""Questions to a real index: what fits is found, as plain Python says, within the scope, page by page."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from sqlalchemy.dialects import postgresql
from support.filed import file, header, new_index
from support.matching_reference import any_text_fits, date_fits, name_fits

from appliance.hub.index.database import Index
from appliance.hub.index.scope import EVERYTHING, Scope
from appliance.hub.query.asking import Query, asked
from appliance.hub.query.keys import Level, tag_of
from appliance.hub.query.matching import MalformedKeyError
from appliance.hub.query.search import every, search, total
from appliance.hub.query.statements import rows_of
from appliance.part10.attributes import first_text, texts_of

NAME_LETTERS = "aAéb^= "
TEXT_LETTERS = "aA[]%_!b"
DATES = ("20260101", "20260131", "20260201", "20271231", "")
TIMES = ("00", "1030", "103015", "235959.5", "")
MODALITIES = ("CT", "MR", "CR", "C")


def drawn(draw: random.Random, letters: str, longest: int) -> str:
    return "".join(draw.choice(letters) for _ in range(draw.randrange(longest + 1)))


def a_name(draw: random.Random) -> str:
    return "=".join(drawn(draw, NAME_LETTERS.replace("=", ""), 4) for _ in range(draw.choice((1, 1, 2, 3))))


@pytest.fixture(scope="module")
def studies() -> list[dict[str, Any]]:
    """Values of 120 studies; the number is that of the UID."""
    draw = random.Random(20261124)
    return [
        {
            "PatientName": a_name(draw),
            "StudyDescription": drawn(draw, TEXT_LETTERS, 4).strip(),
            "StudyDate": draw.choice(DATES),
            "StudyTime": draw.choice(TIMES),
            "modalities": draw.sample(MODALITIES, draw.choice((1, 1, 2, 3))),
        }
        for _ in range(120)
    ]


@pytest.fixture(scope="module")
def filed(tmp_path_factory: pytest.TempPathFactory, studies: list[dict[str, Any]]) -> Iterator[Index]:
    index = new_index(tmp_path_factory.mktemp("filed") / "hub")
    for number, values in enumerate(studies, 1):
        own = {name: value for name, value in values.items() if name != "modalities"}
        series = [
            header(number, position, 1, Modality=modality, PatientID=f"P{number}", **own)
            for position, modality in enumerate(values["modalities"], 1)
        ]
        file(index, "a", *series)
    yield index
    index.close()


def identifier(**values: Any) -> dict[str, Any]:
    """DICOM JSON of keywords; a text with backslashes is several values."""
    found: dict[str, Any] = {}
    for keyword, value in values.items():
        vr = "PN" if keyword == "PatientName" else "LO"
        parts: list[Any] = value if isinstance(value, list) else value.split("\\")
        if vr == "PN":
            names = ("Alphabetic", "Ideographic", "Phonetic")
            parts = [dict(zip(names, value.split("="), strict=False))] if value else []
        found[f"{tag_of(keyword):08X}"] = {"vr": vr, "Value": parts} if parts else {"vr": vr}
    return found


def numbers(index: Index, **values: Any) -> set[int]:
    """The studies that fit, by the number in their UIDs."""
    query = asked(Level.STUDY, identifier(**values, StudyInstanceUID="")).query
    return {int(first_text(one, 0x0020000D).rpartition(".")[2]) for one in every(index, EVERYTHING, query)}


def fitting(studies: list[dict[str, Any]], fits: Any) -> set[int]:
    return {number for number, values in enumerate(studies, 1) if fits(values)}


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet=NAME_LETTERS.replace("=", "") + "*?", max_size=5))
def test_names_of_one_group_fit_as_plain_python_says(filed: Index, studies: list[dict[str, Any]], text: str) -> None:
    expected = fitting(studies, lambda values: name_fits(text, values["PatientName"]))
    assert numbers(filed, PatientName=text) == expected


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(alphabet="aéb^*?", max_size=3), min_size=2, max_size=3))
def test_names_of_several_groups_fit_as_plain_python_says(
    filed: Index, studies: list[dict[str, Any]], groups: list[str]
) -> None:
    text = "=".join(groups)
    if text.endswith("="):  # DICOM JSON does not tell groups at the end that are empty
        text = text.rstrip("=")
    expected = fitting(studies, lambda values: name_fits(text, values["PatientName"]))
    assert numbers(filed, PatientName=text) == expected


@settings(max_examples=150, deadline=None)
@given(st.lists(st.text(alphabet=TEXT_LETTERS + "*?", max_size=4), max_size=3))
def test_texts_with_wildcards_and_signs_of_sql_fit_as_plain_python_says(
    filed: Index, studies: list[dict[str, Any]], texts: list[str]
) -> None:
    asked_for = "\\".join(texts)
    expected = fitting(studies, lambda values: any_text_fits(asked_for, [values["StudyDescription"]]))
    assert numbers(filed, StudyDescription=asked_for) == expected


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from((*MODALITIES, "C*", "?R", "*", "C?", "X")), max_size=3))
def test_modalities_in_a_study_fit_as_plain_python_says(
    filed: Index, studies: list[dict[str, Any]], texts: list[str]
) -> None:
    asked_for = "\\".join(texts)
    expected = fitting(studies, lambda values: any_text_fits(asked_for, values["modalities"]))
    assert numbers(filed, ModalitiesInStudy=asked_for) == expected


@pytest.mark.parametrize("first", ["", "20260101", "20260115", "20260201"])
@pytest.mark.parametrize("last", ["", "20260131", "20260130", "20271231"])
def test_ranges_of_dates_fit_as_plain_python_says(
    filed: Index, studies: list[dict[str, Any]], first: str, last: str
) -> None:
    if first or last:
        text = f"{first}-{last}"
        expected = fitting(studies, lambda values: date_fits(text, values["StudyDate"]))
        assert numbers(filed, StudyDate=text) == expected
    if first:
        assert numbers(filed, StudyDate=first) == fitting(studies, lambda values: values["StudyDate"] == first)


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("1030", {"1030", "103015"}),
        ("103015", {"103015"}),
        ("-10", {"00", "1030", "103015"}),
        ("103001-", {"103015", "235959.5"}),
        ("10-235958", {"1030", "103015"}),
        ("235959", {"235959.5"}),
    ],
)
def test_a_time_fits_within_what_is_stated(
    filed: Index, studies: list[dict[str, Any]], text: str, fits: set[str]
) -> None:
    assert numbers(filed, StudyTime=text) == fitting(studies, lambda values: values["StudyTime"] in fits)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 50), st.sampled_from(["", "a*", "*b*"]))
def test_pages_of_any_size_are_the_whole_list_in_its_order(filed: Index, size: int, name: str) -> None:
    query = asked(Level.STUDY, identifier(PatientName=name, StudyInstanceUID="", StudyDate="", StudyTime="")).query
    whole = list(every(filed, EVERYTHING, query, 1000))
    assert list(every(filed, EVERYTHING, query, size)) == whole
    dates = [first_text(one, 0x00080020) for one in whole]
    assert dates == sorted(dates, reverse=True)
    with filed.read() as connection:
        assert total(connection, EVERYTHING, query) == len(whole)
        assert search(connection, EVERYTHING, query, 7, offset=5).answers == whole[5:12]


@pytest.mark.parametrize("level", [Level.SERIES, Level.INSTANCE, Level.PATIENT])
def test_pages_at_other_levels_are_whole_too(filed: Index, level: Level) -> None:
    whole = list(every(filed, EVERYTHING, Query(level), 1000))
    assert len(whole) >= 120
    assert list(every(filed, EVERYTHING, Query(level), 7)) == whole
    with filed.read() as connection:
        assert total(connection, EVERYTHING, Query(level)) == len(whole)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from(range(0x00080000, 0x00080100)), st.text(max_size=20), max_size=3))
def test_no_question_breaks_the_index(filed: Index, values: dict[int, str]) -> None:
    content = {f"{tag:08X}": {"vr": "LO", "Value": [text]} for tag, text in values.items()}
    try:
        query = asked(Level.STUDY, content).query
    except MalformedKeyError:
        return
    with filed.read() as connection:
        search(connection, EVERYTHING, query, 3)


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    opened = new_index(tmp_path / "hub")
    yield opened
    opened.close()


def answers(index: Index, level: Level, scope: Scope = EVERYTHING, **values: Any) -> list[dict[str, Any]]:
    return list(every(index, scope, asked(level, identifier(**values)).query))


def test_a_study_is_answered_with_its_counts_and_lists(index: Index) -> None:
    scan = [header(series=1, number=number, StudyDescription="Head", PatientID="P") for number in (1, 2, 3)]
    report = header(series=2, Modality="SR", PatientID="P", SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11")
    file(index, "a", *scan, report)

    with index.read() as connection:
        (study,) = search(connection, EVERYTHING, Query(Level.STUDY), 10).answers
    assert texts_of(study, tag_of("ModalitiesInStudy")) == ["CT", "SR"]
    assert len(texts_of(study, tag_of("SOPClassesInStudy"))) == 2
    assert first_text(study, tag_of("NumberOfStudyRelatedSeries")) == "2"
    assert first_text(study, tag_of("NumberOfStudyRelatedInstances")) == "4"
    assert first_text(study, tag_of("InstanceAvailability")) == "ONLINE"
    assert first_text(study, tag_of("StudyDescription")) == "Head"


def test_only_what_is_wanted_is_answered_and_what_is_empty_is_so(index: Index) -> None:
    file(index, "a", header(PatientID="P"))
    (one,) = answers(index, Level.STUDY, PatientID="", StudyDescription="", StudyID="")
    assert one == {"00081030": {"vr": "LO"}, "00100020": {"vr": "LO", "Value": ["P"]}, "00200010": {"vr": "SH"}}


def test_series_and_instances_are_in_the_order_of_their_numbers(index: Index) -> None:
    file(index, "a", *(header(series=series, number=number) for series in (10, 9) for number in (2, 10, 1)))
    series = answers(index, Level.SERIES, StudyInstanceUID="1.2.1", SeriesNumber="", NumberOfSeriesRelatedInstances="")
    assert [first_text(one, tag_of("SeriesNumber")) for one in series] == ["9", "10"]
    assert [first_text(one, tag_of("NumberOfSeriesRelatedInstances")) for one in series] == ["3", "3"]
    found = answers(index, Level.INSTANCE, StudyInstanceUID="1.2.1", SeriesInstanceUID="1.2.1.9", InstanceNumber="")
    assert [first_text(one, tag_of("InstanceNumber")) for one in found] == ["1", "2", "10"]
    assert [first_text(one, tag_of("StudyInstanceUID")) for one in found] == ["1.2.1"] * 3
    assert len(answers(index, Level.INSTANCE, InstanceNumber="02")) == 2


def test_an_instance_is_found_by_its_class_and_uid(index: Index) -> None:
    file(index, "a", header(number=1), header(number=2, SOPClassUID="1.2.840.10008.5.1.4.1.1.4"))
    (one,) = answers(index, Level.INSTANCE, SOPClassUID="1.2.840.10008.5.1.4.1.1.4", SOPInstanceUID="")
    assert first_text(one, tag_of("SOPInstanceUID")) == "1.2.1.1.2"
    assert len(answers(index, Level.INSTANCE, SOPInstanceUID="1.2.1.1.1\\1.2.1.1.2\\1.9")) == 2


def test_keys_of_a_sequence_must_fit_in_the_same_item(index: Index) -> None:
    items = []
    for step, procedure in (("S1", "R1"), ("S2", "R2")):
        item = Dataset()
        item.ScheduledProcedureStepID, item.RequestedProcedureID = step, procedure
        items.append(item)
    file(index, "a", header(RequestAttributesSequence=Sequence(items)))

    def count(step: str, procedure: str) -> int:
        item = {
            "00400009": {"vr": "SH", "Value": [step]} if step else {"vr": "SH"},
            "00401001": {"vr": "SH", "Value": [procedure]},
        }
        query = asked(Level.SERIES, {"00400275": {"vr": "SQ", "Value": [item]}}).query
        return len(list(every(index, EVERYTHING, query)))

    assert (count("S1", "R1"), count("S1", "R2"), count("", "R2"), count("S?", "R*")) == (1, 0, 1, 1)


def test_a_scope_sees_what_its_sites_sent_first_at_every_level(index: Index) -> None:
    file(index, "a", header(study=1, PatientID="P", IssuerOfPatientID="H"), header(study=2, PatientID="Q"))
    file(index, "b", header(study=3, PatientID="P", IssuerOfPatientID="H"))
    file(index, "b", header(study=1, number=2, PatientID="P", IssuerOfPatientID="H"))  # a UID that was guessed

    for level in Level:
        seen = {scope: len(list(every(index, scope, Query(level)))) for scope in map(only, ("a", "b", "c", "ab", ""))}
        whole = len(list(every(index, EVERYTHING, Query(level))))
        assert seen[only("ab")] == whole
        assert seen[only("c")] == seen[only("")] == 0
        assert 0 < seen[only("b")] < whole
        with index.read() as connection:
            assert total(connection, only("a"), Query(level)) == seen[only("a")]
    assert answers(index, Level.INSTANCE, only("b"), SOPInstanceUID="1.2.1.1.2") == []
    (patient,) = answers(index, Level.PATIENT, only("b"), PatientID="P", NumberOfPatientRelatedStudies="")
    assert first_text(patient, tag_of("NumberOfPatientRelatedStudies")) == "1"
    (patient,) = answers(index, Level.PATIENT, PatientID="P", NumberOfPatientRelatedStudies="")
    assert first_text(patient, tag_of("NumberOfPatientRelatedStudies")) == "2"


def only(sites: str) -> Scope:
    return Scope(frozenset(sites))


def test_a_patient_is_found_by_name_in_any_script(index: Index) -> None:
    file(index, "a", header(study=1, PatientID="1", PatientName="Yamada^Tarou=山田^太郎=やまだ^たろう"))
    file(index, "a", header(study=2, PatientID="2", PatientName="Лукьяненко^Сергей"))
    file(index, "a", header(study=3, PatientID="3", PatientName="王^小东=王^小东"))
    for text, who in (("山田*", "1"), ("やまだ^*", "1"), ("yamada*=山田*", "1"), ("лукьяненко*", "2"), ("王^小?", "3")):
        (patient,) = answers(index, Level.PATIENT, PatientName=text, PatientID="")
        assert first_text(patient, tag_of("PatientID")) == who, text
        assert len(answers(index, Level.STUDY, PatientName=text)) == 1


def test_of_two_versions_of_an_image_the_first_is_answered(index: Index) -> None:
    file(index, "a", header(Rows=1))
    file(index, "a", header(Rows=2), now=10_000)
    (one,) = answers(index, Level.INSTANCE, SOPInstanceUID="1.2.1.1.1", Rows="")
    assert first_text(one, tag_of("Rows")) == "1"


def test_a_value_of_a_key_is_never_sql(index: Index) -> None:
    file(index, "a", header(PatientID="P"))
    for text in ("' OR 1=1 --", "P' --", "%", "_", "P%", '"', "\\"):
        assert answers(index, Level.STUDY, PatientID=text) == [] or not text.strip("\\")


def test_on_postgresql_a_pattern_is_a_like_with_its_signs_escaped() -> None:
    query = asked(Level.STUDY, identifier(StudyDescription="50%_!*?")).query
    compiled = rows_of(EVERYTHING, query, None).compile(dialect=postgresql.dialect())
    assert "LIKE" in str(compiled)
    assert "ESCAPE '!'" in str(compiled)
    assert "GLOB" not in str(compiled)
    assert "50!%!_!!%_" in compiled.params.values()
