"""Studies in a terminal."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from appliance.hub.index.studies import InstanceFacts, SeriesFacts, StudyFacts
from appliance.hub.words import printable, study_lines, study_table

NOW = 1_795_493_740_000


def a_study(**changed: Any) -> StudyFacts:
    texts = {name: "" for name in StudyFacts.__struct_fields__ if name.startswith(("study_", "patient_", "issuer"))}
    texts |= {"accession_number": "", "referring_physician": ""}
    usual: dict[str, Any] = {
        "study_instance_uid": "1.2.3",
        "patient_name": "Banda^Grace",
        "patient_id": "MZ-7",
        "priority": "stat",
        "sites": ("mangochi", "zomba"),
        "modalities": ("CR", "CT"),
        "series": 2,
        "instances": 12,
        "bytes": 6_300_000,
        "conflicts": 0,
        "identity_conflict": False,
        "first_held_at": NOW,
        "last_held_at": NOW,
    }
    return StudyFacts(**(texts | usual | changed))


def a_series() -> SeriesFacts:
    image = InstanceFacts(
        sop_instance_uid="1.2.3.4", sop_class_uid="1", transfer_syntax_uid="1", instance_number="1", frames=1,
        digest="00", bytes=1000, archived_as="as-received", archived_bytes=1300, conflict=False, calling_ae="CT1",
        received_at=NOW, held_at=NOW,
    )  # fmt: skip
    return SeriesFacts(
        series_instance_uid="1.2.3.1", modality="CT", body_part="", series_description="Axial", series_number="2",
        instances=(image, image),
    )  # fmt: skip


def test_the_list_has_a_line_a_study_with_all_that_tells_them_apart():
    line = study_table([a_study()], NOW).splitlines()[2]
    for word in ("Banda^Grace", "MZ-7", "CR/CT", "12", "6.3 MB", "stat", "mangochi, zomba", "1.2.3"):
        assert word in line
    assert "!" not in line


def test_a_study_that_needs_a_look_is_marked_and_says_why():
    assert " ! " in study_table([a_study(conflicts=2)], NOW)
    assert " ! " in study_table([a_study(identity_conflict=True)], NOW)
    shown = "\n".join(study_lines(a_study(conflicts=2, identity_conflict=True), [], NOW))
    assert "2 images share a UID" in shown
    assert "other patient data" in shown
    assert "Look:" not in "\n".join(study_lines(a_study(), [], NOW))


def test_a_series_says_its_images_and_size():
    assert "2       CT    Axial             2  2.0 kB" in "\n".join(study_lines(a_study(), [a_series()], NOW))


@given(st.text())
def test_no_text_moves_the_cursor(text: str):
    assert printable(text).isprintable()
