"""Viewers and PACS ask the hub by C-FIND: known ones alone, in every character set, until they want no more."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pydicom
import pytest
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from support.asking_scu import AskingScu
from support.certificates import make_certificate
from support.filed import encoded, file, header
from support.hub import RunningHub, add_site, hub_config, running_hub
from support.tiny_scu import AssociationRefusedError

from appliance.config import Pacs, PacsPeer
from appliance.hub.index.database import Index

PEERS = (
    PacsPeer(name="Reading room", ae_title="VIEWER", network="127.0.0.0/8"),
    PacsPeer(name="Ward of site 2", ae_title="WARD2", network="127.0.0.1", sites=("site-2",)),
    PacsPeer(name="Elsewhere", ae_title="FAR", network="192.0.2.0/24"),
)
MANY = 700


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    """A hub with a few studies of two sites, and 700 more of one patient."""
    config = hub_config(tmp_path_factory.mktemp("find") / "hub")
    config = msgspec.structs.replace(config, pacs=Pacs(port=0, peers=PEERS, answers_max=MANY))
    secret = add_site(config)
    add_site(config, "site-2")
    index = Index.open(config)
    names = ("Müller^Jörg", "Yamada^Tarou=山田^太郎=やまだ^たろう", "Лукьяненко^Сергей", "王^小东", "Doe^Jane")
    for number, name in enumerate(names, 1):
        site = "site-1" if number < 5 else "site-2"
        values = {"PatientName": name, "PatientID": f"P{number}", "StudyDate": f"2026010{number}"}
        scan = [header(number, 1, each, AccessionNumber=f"A{number}", **values) for each in (1, 2)]
        file(index, site, *scan, header(number, 2, 1, Modality="SR", **values))
    for start in range(0, MANY, 350):
        many = (header(1000 + start + each, PatientID="MANY", StudyDate="20200101") for each in range(350))
        file(index, "site-1", *many)
    index.close()
    with running_hub(config, secret) as running:
        yield running


def port_of(hub: RunningHub) -> int:
    assert hub.hub
    return hub.hub.pacs_ports[0]


def findscu(hub: RunningHub, out: Path, *keys: str, model: str = "-S", calling: str = "VIEWER", more: Any = ()) -> str:
    """Runs dcmtk's; the answers are files in `out`."""
    out.mkdir(exist_ok=True)
    command = ["findscu", "-v", model, "-aet", calling, "-aec", "HUB", "-X", "-od", str(out), *more]
    command += [word for key in keys for word in ("-k", key)]
    done = subprocess.run(
        [*command, "127.0.0.1", str(port_of(hub))],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "TCP_NODELAY": "1"},
    )
    return done.stdout + done.stderr


def answers(out: Path) -> list[Dataset]:
    return [pydicom.dcmread(path) for path in sorted(out.glob("rsp*.dcm"))]


def test_dcmtk_finds_a_study_and_is_told_what_it_asked_for(hub: RunningHub, tmp_path: Path):
    said = findscu(
        hub,
        tmp_path / "out",
        "QueryRetrieveLevel=STUDY",
        "PatientName=muller*",
        "PatientID",
        "StudyInstanceUID",
        "StudyDate=20260101-20260131",
        "ModalitiesInStudy=SR",
        "NumberOfStudyRelatedInstances",
        "NumberOfStudyRelatedSeries",
        "StudyDescription",
    )

    (one,) = answers(tmp_path / "out")
    assert "Success" in said
    assert str(one.PatientName) == "Müller^Jörg"
    assert (one.PatientID, one.StudyInstanceUID, one.StudyDate) == ("P1", "1.2.1", "20260101")
    assert list(one.ModalitiesInStudy) == ["CT", "SR"]
    assert (one.NumberOfStudyRelatedInstances, one.NumberOfStudyRelatedSeries) == (3, 2)
    assert (one.StudyDescription, one.QueryRetrieveLevel, one.RetrieveAETitle) == ("", "STUDY", "HUB")
    assert one.SpecificCharacterSet == "ISO_IR 192"
    assert "Modality" not in one


@pytest.mark.parametrize(
    ("character_set", "name", "who"),
    [
        ("ISO_IR 100", "müller^JÖRG", "P1"),
        ("ISO_IR 192", "山田*", "P2"),
        ("\\ISO 2022 IR 87", "Yamada*=山田^太郎", "P2"),
        ("ISO_IR 144", "Лукьяненко*", "P3"),
        ("GB18030", "王^小东", "P4"),
        ("", "DOE^j*", "P5"),
    ],
)
def test_a_question_in_any_character_set_finds_the_patient(
    hub: RunningHub, character_set: str, name: str, who: str
) -> None:
    question = Dataset()
    question.SpecificCharacterSet = character_set.split("\\") if "\\" in character_set else character_set
    question.PatientName, question.PatientID, question.QueryRetrieveLevel = name, "", "STUDY"
    with AskingScu(port_of(hub)) as scu:
        first, last = scu.ask(encoded(question))
    assert (first.status, last.status) == (0xFF00, 0)
    assert who.encode() in first.data


def test_an_answer_in_plain_letters_needs_no_character_set(hub: RunningHub, tmp_path: Path):
    findscu(hub, tmp_path / "out", "QueryRetrieveLevel=STUDY", "PatientID=P5", "PatientName")
    (one,) = answers(tmp_path / "out")
    assert str(one.PatientName) == "Doe^Jane"
    assert "SpecificCharacterSet" not in one


@pytest.mark.parametrize("syntax", ["-xi", "-xe"])
def test_every_level_is_answered_in_both_models_and_encodings(hub: RunningHub, tmp_path: Path, syntax: str):
    study = ("StudyInstanceUID=1.2.5",)
    series = (*study, "SeriesInstanceUID=1.2.5.1")
    cases: list[tuple[str, str, tuple[str, ...], int]] = [
        ("-P", "PATIENT", ("PatientID=P*", "PatientName"), 5),
        ("-P", "STUDY", ("PatientID=P5", "StudyInstanceUID"), 1),
        ("-P", "SERIES", ("PatientID=P5", *study, "SeriesInstanceUID", "Modality"), 2),
        ("-S", "SERIES", (*study, "SeriesInstanceUID", "Modality=CT"), 1),
        ("-S", "IMAGE", (*series, "SOPInstanceUID", "InstanceNumber"), 2),
        ("-S", "IMAGE", (*series, "SOPInstanceUID=1.2.5.1.1\\1.2.5.1.2\\1.9"), 2),
        ("-S", "STUDY", ("PatientID=NOBODY", "StudyInstanceUID"), 0),
    ]
    for number, (model, level, keys, count) in enumerate(cases):
        out = tmp_path / f"{number}"
        said = findscu(hub, out, f"QueryRetrieveLevel={level}", *keys, model=model, more=[syntax])
        assert "Success" in said, said
        assert len(answers(out)) == count, (model, level)
        assert all(one.QueryRetrieveLevel == level for one in answers(out))


def test_hundreds_of_answers_stream_page_by_page(hub: RunningHub, tmp_path: Path):
    assert "Success" in findscu(hub, tmp_path, "QueryRetrieveLevel=STUDY", "PatientID=MANY", "StudyInstanceUID")
    assert len({one.StudyInstanceUID for one in answers(tmp_path)}) == MANY


def test_a_cancel_ends_the_answers_and_the_association_goes_on(hub: RunningHub):
    with AskingScu(port_of(hub)) as scu:
        scu.begin(encoded(study_question(PatientID="MANY")), cancelled=7)
        assert len(statuses := all_statuses(scu)) <= 3
        assert statuses[-1] == 0xFE00
        assert scu.ask(encoded(study_question(PatientID="P5")))[-1].status == 0


def test_a_cancel_of_another_message_means_nothing(hub: RunningHub):
    with AskingScu(port_of(hub)) as scu:
        scu.begin(encoded(study_question(PatientID="MANY")), cancelled=6)
        assert all_statuses(scu) == [0xFF00] * MANY + [0]
        scu.cancel()  # of what is done
        assert scu.ask(encoded(study_question(PatientID="P5")))[-1].status == 0


def all_statuses(scu: AskingScu) -> list[int]:
    statuses = [scu.response().status]
    while statuses[-1] in {0xFF00, 0xFF01}:
        statuses.append(scu.response().status)
    return statuses


def study_question(**values: str) -> Dataset:
    question = Dataset()
    question.QueryRetrieveLevel, question.StudyInstanceUID = "STUDY", ""
    for keyword, value in values.items():
        tag = pydicom.datadict.tag_for_keyword(keyword)
        assert tag
        question[tag] = DataElement(tag, pydicom.datadict.dictionary_VR(tag), value, validation_mode=0)
    return question


@pytest.mark.parametrize(
    ("values", "status", "offending"),
    [
        ({"StudyDate": "yesterday"}, 0xC001, 0x00080020),
        ({"StudyTime": "25"}, 0xC001, 0x00080030),
        ({"StudyInstanceUID": "../../etc/passwd"}, 0xC001, 0x0020000D),
        ({"PatientName": "a*" * 30}, 0xC001, 0x00100010),
        ({"QueryRetrieveLevel": "PATIENT"}, 0xA900, 0x00080052),
        ({"QueryRetrieveLevel": "WARD"}, 0xA900, 0x00080052),
        ({"QueryRetrieveLevel": ""}, 0xA900, 0x00080052),
        ({"QueryRetrieveLevel": "SERIES"}, 0xA900, 0x0020000D),
        ({"QueryRetrieveLevel": "IMAGE", "StudyInstanceUID": "1.2.1"}, 0xA900, 0x0020000E),
        ({"PatientID": ""}, 0xA700, None),
    ],
)
def test_a_malformed_question_has_the_status_of_the_standard(
    hub: RunningHub, values: dict[str, str], status: int, offending: int | None
):
    with AskingScu(port_of(hub)) as scu:
        *_, last = scu.ask(encoded(study_question(**values)))
        assert (last.status, last.offending) == (status, offending)
        assert scu.ask(encoded(study_question(PatientID="P5")))[-1].status == 0


@pytest.mark.parametrize(
    ("identifier", "status"),
    [
        (b"\xff" * 50, 0xC000),
        (encoded(study_question(PatientID="P5"))[:-3], 0xC000),
        (None, 0xC000),
        (b"\x08\x00\x52\x00CS\x06\x00STUDY " + b"\x09\x00\x01\x10UN\0\0\xff\xff\xff\x7f", 0xC000),
        (b"\0" * ((1 << 20) + 1), 0xA700),
    ],
)
def test_bytes_that_are_no_question_are_refused_and_the_association_goes_on(
    hub: RunningHub, identifier: bytes | None, status: int
):
    with AskingScu(port_of(hub)) as scu:
        (last,) = scu.ask(identifier)
        assert last.status == status
        assert scu.ask(encoded(study_question(PatientID="P5")))[-1].status == 0


def test_a_key_that_is_not_matched_is_said_so(hub: RunningHub):
    with AskingScu(port_of(hub)) as scu:
        first, last = scu.ask(encoded(study_question(PatientID="P5", Modality="MR")))
    assert (first.status, last.status) == (0xFF01, 0)


def test_who_is_not_in_the_file_is_refused(hub: RunningHub):
    for calling, called in ((b"STRANGER", b"HUB"), (b"FAR", b"HUB"), (b"VIEWER", b"OTHER")):
        with pytest.raises(AssociationRefusedError):
            AskingScu(port_of(hub), calling=calling, called=called)


def test_a_peer_of_one_site_sees_nothing_of_another_and_its_guess_is_in_the_trail(hub: RunningHub):
    with AskingScu(port_of(hub), calling=b"WARD2") as scu:
        seen = scu.ask(encoded(study_question()))
        assert [one.status for one in seen] == [0xFF00, 0]
        assert b"1.2.5" in seen[0].data
        assert [one.status for one in scu.ask(encoded(study_question(StudyInstanceUID="1.2.1")))] == [0]
        assert [one.status for one in scu.ask(encoded(study_question(StudyInstanceUID="1.2.77")))] == [0]
    lines = hub.rows("SELECT action, actor, detail FROM audit_event WHERE actor LIKE 'Ward of site 2%'")
    assert [line["action"] for line in lines] == ["hub.find"] * 2 + ["hub.find outside", "hub.find"]
    assert lines[2]["detail"] == "study by StudyInstanceUID"


def test_each_question_is_in_the_trail_without_what_was_asked_for(hub: RunningHub):
    with AskingScu(port_of(hub)) as scu:
        scu.ask(encoded(study_question(PatientName="Zebrafink*", StudyDate="20260101-")))
    line = hub.rows("SELECT * FROM audit_event ORDER BY id DESC LIMIT 1")[0]
    assert (line["actor"], line["role"], line["address"]) == ("Reading room (VIEWER)", "peer", "127.0.0.1")
    assert (line["action"], line["detail"]) == ("hub.find", "study by StudyDate PatientName")


def test_a_viewer_that_leaves_in_the_middle_disturbs_nobody(hub: RunningHub):
    for _ in range(3):
        scu = AskingScu(port_of(hub))
        scu.begin(encoded(study_question(PatientID="MANY")))
        scu.response()
        scu.socket.close()
    with AskingScu(port_of(hub)) as scu:
        scu.begin(encoded(study_question(PatientID="P5")))
        assert all_statuses(scu) == [0xFF00, 0]


def test_a_question_over_tls_is_answered(tmp_path: Path):
    certificate, key = make_certificate(tmp_path, "hub")
    secured = Pacs(port=0, tls_certificate=str(certificate), tls_key=str(key), peers=PEERS)
    config = msgspec.structs.replace(hub_config(tmp_path / "hub"), pacs=secured)
    with running_hub(config) as running:
        index = Index.open(config)
        file(index, "site-1", header(PatientID="P"))
        index.close()
        assert running.hub
        port = running.hub.pacs_ports[1]
        command = ["findscu", "-S", "-aet", "VIEWER", "-aec", "HUB", "-ic", "+tla", "-k", "QueryRetrieveLevel=STUDY"]
        command += ["-k", "PatientID", "-X", "-od", str(tmp_path), "127.0.0.1", str(port)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert [one.PatientID for one in answers(tmp_path)] == ["P"]


def test_a_hub_without_peers_does_not_listen_for_any(hub: RunningHub, tmp_path: Path):
    with running_hub(hub_config(tmp_path / "hub")) as running:
        assert running.hub
        assert running.hub.pacs_ports == []
