"""What a key's value demands, and which values are refused."""

from __future__ import annotations

import pytest

from appliance.hub.query.asking import asked, lacking
from appliance.hub.query.keys import Level, tag_of
from appliance.hub.query.matching import (
    Between,
    Equal,
    Items,
    Kind,
    MalformedKeyError,
    Named,
    Pattern,
    match_of,
)


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.ITEMS])
@pytest.mark.parametrize("values", [[], [""], ["  "], ["*"], ["**"], ["*", ""]])
def test_nothing_and_a_star_demand_nothing(kind: Kind, values: list[str]) -> None:
    assert match_of(kind, values if kind is not Kind.NAME else values[:1]) is None


@pytest.mark.parametrize(
    ("kind", "values", "match"),
    [
        (Kind.TEXT, [" A1 "], Equal(("A1",))),
        (Kind.TEXT, ["A", "B"], Equal(("A", "B"))),
        (Kind.TEXT, ["A**?", "B"], Pattern(("A*?", "B"))),
        (Kind.UID, ["1.2", "1.3"], Equal(("1.2", "1.3"))),
        (Kind.NUMBER, ["007"], Equal((7,))),
        (Kind.DATE, ["20260131"], Equal(("20260131",))),
        (Kind.DATE, ["20260101-20260131"], Between("20260101", "20260131")),
        (Kind.DATE, ["-20260131"], Between("", "20260131")),
        (Kind.DATE, ["2026.01.01-"], Between("20260101", "")),
        (Kind.TIME, ["1030"], Between("103000000000", "103059999999")),
        (Kind.TIME, ["10-11"], Between("100000000000", "115959999999")),
        (Kind.NAME, ["Müller^J*"], Named(anywhere=Pattern(("muller^j*",)))),
        (Kind.NAME, ["Doe^*^*"], Named(anywhere=Pattern(("doe^*^*", "doe^*", "doe")))),
        (Kind.NAME, ["Doe^"], Named(anywhere=Equal(("doe",)))),
        (Kind.NAME, ["=山田*"], Named(groups=(None, Pattern(("山田*",)), None))),
        (Kind.NAME, ["Yamada=山田"], Named(groups=(Equal(("yamada",)), Equal(("山田",)), None))),
        (Kind.NAME, ["*^*"], None),
        (Kind.NAME, ["="], None),
    ],
)
def test_a_value_demands(kind: Kind, values: list[str], match: object) -> None:
    assert match_of(kind, values) == match


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (Kind.UID, ["1.2*"]),
        (Kind.UID, ["../../etc"]),
        (Kind.UID, ["1." * 40]),
        (Kind.NUMBER, ["seven"]),
        (Kind.NUMBER, ["1?"]),
        (Kind.DATE, ["2026"]),
        (Kind.DATE, ["-"]),
        (Kind.DATE, ["20260101-2026"]),
        (Kind.DATE, ["2026*"]),
        (Kind.DATE, ["20260101-20260102-20260103"]),
        (Kind.TIME, ["2500"]),
        (Kind.TIME, ["10", "11"]),
        (Kind.TIME, ["-"]),
        (Kind.TEXT, ["a*" * 17]),
        (Kind.NAME, ["a*" * 17]),
        (Kind.NAME, ["Zebra", "Quagga"]),
        (Kind.NAME, ["a=b=c=d"]),
        (Kind.UID, ["1.2"] * 10_001),
    ],
)
def test_what_the_standard_does_not_allow_is_refused_and_not_repeated(kind: Kind, values: list[str]) -> None:
    with pytest.raises(MalformedKeyError) as caught:
        match_of(kind, values)
    assert values[0] not in caught.value.reason


def element(vr: str, *values: object) -> dict[str, object]:
    return {"vr": vr, "Value": list(values)} if values else {"vr": vr}


def test_an_identifier_becomes_a_query_and_what_it_wants_back() -> None:
    found = asked(
        Level.STUDY,
        {
            "00080005": element("CS", "ISO_IR 100"),
            "00080052": element("CS", "STUDY"),
            "00080000": element("UL", 10),
            "00080020": element("DA", "20260101-"),
            "00080061": element("CS", "CT", "MR"),
            "00100010": element("PN", {"Alphabetic": "Doe*"}),
            "00201208": element("IS"),
        },
    )

    assert {key.column: match for key, match in found.query.matches} == {
        "study_date": Between("20260101", ""),
        "modalities": Equal(("CT", "MR")),
        "name": Named(anywhere=Pattern(("doe*",))),
    }
    assert found.query.wanted == {0x00080020, 0x00080061, 0x00100010, 0x00201208}
    assert found.unsupported == set()


def test_what_can_not_be_matched_or_answered_is_named() -> None:
    found = asked(
        Level.STUDY,
        {
            "00080060": element("CS", "CT"),  # of a series
            "00091001": element("UN"),  # private
            "00101010": element("AS", "030Y"),  # answered, and not matched
            "00101020": element("DS"),  # answered
        },
    )

    assert found.unsupported == {0x00080060, 0x00091001, 0x00101010}
    assert found.query.wanted == {0x00101010, 0x00101020}
    assert found.query.matches == ()


def test_a_sequence_is_matched_by_one_item() -> None:
    item = {"00400009": element("SH", "S1"), "00401001": element("SH"), "00400007": element("LO", "Head")}
    found = asked(Level.SERIES, {"00400275": element("SQ", item)})

    ((key, match),) = found.query.matches
    assert key.kind is Kind.ITEMS
    assert match == Items(((0x00400009, Equal(("S1",))),))
    assert found.unsupported == {0x00400007}
    assert asked(Level.SERIES, {"00400275": element("SQ", {})}).query.matches == ()
    with pytest.raises(MalformedKeyError) as caught:
        asked(Level.SERIES, {"00400275": element("SQ", item, item)})
    assert caught.value.tag == 0x00400275


def test_a_malformed_key_is_named_by_its_tag() -> None:
    with pytest.raises(MalformedKeyError) as caught:
        asked(Level.STUDY, {"00080020": element("DA", "yesterday")})
    assert caught.value.tag == 0x00080020


@pytest.mark.parametrize(
    ("level", "top", "named", "lack"),
    [
        (Level.STUDY, Level.STUDY, {}, None),
        (Level.PATIENT, Level.PATIENT, {}, None),
        (Level.STUDY, Level.PATIENT, {}, "PatientID"),
        (Level.STUDY, Level.PATIENT, {"00100020": element("LO", "P")}, None),
        (Level.STUDY, Level.PATIENT, {"00100020": element("LO", "P*")}, "PatientID"),
        (Level.SERIES, Level.STUDY, {}, "StudyInstanceUID"),
        (Level.SERIES, Level.STUDY, {"0020000D": element("UI", "1.2")}, None),
        (Level.SERIES, Level.STUDY, {"0020000D": element("UI", "1.2", "1.3")}, "StudyInstanceUID"),
        (Level.INSTANCE, Level.STUDY, {"0020000D": element("UI", "1.2")}, "SeriesInstanceUID"),
    ],
)
def test_a_hierarchical_question_names_what_it_is_below(
    level: Level, top: Level, named: dict[str, dict[str, object]], lack: str | None
) -> None:
    found = lacking(asked(level, named).query, top)
    assert found == (tag_of(lack) if lack else None)
